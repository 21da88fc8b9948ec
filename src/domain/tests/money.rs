//! Quantities, currencies, and sums that cannot overflow.

use proptest::prelude::*;

use super::krw;
use crate::domain::{Currency, Line, Money, Order, ProductId, Quantity};

#[test]
fn a_quantity_is_1_to_10_000() {
    let parsed =
        [0, 1, 10_000, 10_001, u32::MAX].map(|units| Quantity::new(units).map(Quantity::get));
    assert_eq!(parsed, [None, Some(1), Some(10_000), None, None]);
}

#[test]
fn a_currency_is_three_capitals() {
    for wrong in ["", "KR", "KRWW", "krw", "KR1", "K W", "ÄÖÜ", "€"] {
        assert_eq!(Currency::parse(wrong), None, "{wrong}");
    }
    assert_eq!(Currency::parse("KRW").unwrap().as_str(), "KRW");
}

#[test]
fn the_largest_order_of_all_fits() {
    let line = Line {
        product: ProductId::new(1),
        quantity: Quantity::new(Quantity::MAX).unwrap(),
        unit_price: krw(Money::UNIT_PRICE_MAX),
    };
    let exact = i128::from(Money::UNIT_PRICE_MAX) * i128::from(Quantity::MAX);
    assert_eq!(i128::from(line.amount()), exact);
    let lines = i128::try_from(Order::LINES_MAX).unwrap();
    assert!(
        exact * lines <= i128::from(i64::MAX),
        "a sum would saturate, so a price would be wrong"
    );
}

proptest! {
    #[test]
    fn a_currency_prints_as_it_was_read(code in "[A-Z]{3}") {
        let currency = Currency::parse(&code).unwrap();
        prop_assert_eq!(currency.as_str(), code);
    }

    #[test]
    fn the_amount_of_a_line_is_exact(units in 1..=Quantity::MAX, price in 0..=Money::UNIT_PRICE_MAX) {
        let line = Line { product: ProductId::new(1), quantity: Quantity::new(units).unwrap(), unit_price: krw(price) };
        prop_assert_eq!(i128::from(line.amount()), i128::from(price) * i128::from(units));
    }
}
