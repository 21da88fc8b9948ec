//! An actor that crashes takes nobody with it.

use super::*;

const DESK: ProductId = ProductId::new(0xde);

#[test]
fn a_crash_takes_out_only_what_its_own_command_touched() {
    let mut stage = Stage::new(PersonLimits::NONE);
    stage.open_sale(DESK);
    let before = stage.placing(KIM, DESK);
    let (before, placed) = stage.envelope(before);
    let (breaks, broken) = stage.envelope(Command::BreakProduct(LAMP));
    let after = stage.placing(KIM, DESK);
    let (after, placed_after) = stage.envelope(after);
    let lamp = stage.placing(KIM, LAMP);
    let (lamp, refused) = stage.envelope(lamp);
    stage
        .turn(&mut vec![before, breaks, after, lamp])
        .expect("the engine goes on");
    for reply_to in [placed, placed_after] {
        let answer = stage.answer_to(reply_to).expect("an answer");
        assert!(order_in(answer).is_ok());
    }
    for reply_to in [broken, refused] {
        let answer = stage.answer_to(reply_to).expect("an answer");
        assert_eq!(answer.err(), Some(Refusal::Recovering));
    }
    let cell = stage.core.cell();
    assert_eq!(
        [LAMP, DESK].map(|it| cell.is_product_broken(it)),
        [true, false]
    );
}
