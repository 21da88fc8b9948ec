//! The letters in Korean.

use jiff::Zoned;

use super::{Language, Letter, OrderSummary, RefundReason, Row, Text, name, row, spelled};

const FOOTER: &str = "이 메일은 Layby에서 자동으로 보내 드리는 발신 전용 메일입니다.";

pub(super) fn text(letter: &Letter) -> Text<'_> {
    let footer = FOOTER;
    let keep_secret = "이 코드를 다른 사람에게 알려 주지 마세요. Layby는 코드를 여쭤보지 않습니다.";
    match letter {
        Letter::VerifyEmail {
            username,
            code,
            minutes,
        } => Text {
            subject: "이메일 주소를 인증해 주세요",
            before: vec![
                format!("{} 님, 안녕하세요.", name(username)),
                format!(
                    "Layby 계정의 이메일 주소를 인증하시려면 아래 코드를 입력해 주세요. 코드는 {minutes}분 동안 한 번만 사용하실 수 있습니다."
                ),
            ],
            code: Some(code),
            bill: Vec::new(),
            after: vec![
                keep_secret.to_owned(),
                "가입을 신청하신 적이 없다면 이 메일을 무시하셔도 됩니다. 코드 없이는 아무도 회원님의 이메일 주소를 사용할 수 없습니다."
                    .to_owned(),
            ],
            footer,
        },
        Letter::AddressInUse {} => Text {
            subject: "회원님의 이메일 주소로 가입이 시도되었습니다",
            before: vec![
                "안녕하세요.".to_owned(),
                "누군가 이 이메일 주소로 Layby 가입을 시도했습니다. 이 주소로 만든 계정이 이미 있어 새 계정은 만들어지지 않았으며, 변경된 내용도 없습니다.".to_owned(),
                "직접 시도하셨다면 기존 계정으로 로그인해 주세요. 비밀번호가 기억나지 않으시면 ‘비밀번호 찾기’에서 새 비밀번호를 설정하실 수 있습니다.".to_owned(),
                "직접 시도하신 것이 아니라면 이 메일을 무시하셔도 됩니다. 상대방은 회원님의 계정이 있다는 사실을 알 수 없습니다.".to_owned(),
            ],
            code: None,
            bill: Vec::new(),
            after: Vec::new(),
            footer,
        },
        Letter::ResetPassword {
            username,
            code,
            minutes,
        } => Text {
            subject: "새 비밀번호를 설정해 주세요",
            before: vec![
                format!("{} 님, 안녕하세요.", name(username)),
                format!(
                    "Layby 계정의 비밀번호를 다시 설정해 달라는 요청을 받았습니다. 아래 코드를 입력하시면 새 비밀번호를 설정하실 수 있습니다. 코드는 {minutes}분 동안 한 번만 사용하실 수 있습니다."
                ),
            ],
            code: Some(code),
            bill: Vec::new(),
            after: vec![
                keep_secret.to_owned(),
                "직접 요청하신 것이 아니라면 이 메일을 무시하셔도 됩니다. 비밀번호는 바뀌지 않습니다."
                    .to_owned(),
            ],
            footer,
        },
        Letter::PasswordChanged {} => Text {
            subject: "비밀번호가 변경되었습니다",
            before: vec![
                "안녕하세요.".to_owned(),
                "Layby 계정의 비밀번호가 변경되었습니다. 직접 변경하셨다면 따로 하실 일은 없습니다.".to_owned(),
                "직접 변경하신 것이 아니라면 지금 바로 로그인 화면의 ‘비밀번호 찾기’에서 새 비밀번호를 설정해 주세요. 새 비밀번호를 설정하시면 다른 사람의 로그인도 모두 해제됩니다.".to_owned(),
            ],
            code: None,
            bill: Vec::new(),
            after: Vec::new(),
            footer,
        },
        Letter::SignedOutEverywhere {} => Text {
            subject: "안전을 위해 로그아웃되었습니다",
            before: vec![
                "안녕하세요.".to_owned(),
                "회원님의 Layby 로그인 상태를 유지하는 키가 두 번 사용되었습니다. 누군가 키를 복사했을 수 있어, 안전을 위해 해당 로그인을 사용하던 모든 기기에서 로그아웃했습니다.".to_owned(),
                "번거로우시겠지만 다시 로그인해 주세요. 직접 하지 않으신 활동이 계정에서 보인다면 로그인 화면의 ‘비밀번호 찾기’에서 새 비밀번호를 설정해 주세요.".to_owned(),
            ],
            code: None,
            bill: Vec::new(),
            after: Vec::new(),
            footer,
        },
        Letter::OrderHeld { order, pay_by } => held(order, pay_by),
        Letter::OrderPaid { order } => paid(order),
        Letter::OrderExpired { order } => expired(order),
        Letter::OrderCancelled { order, refund } => cancelled(order, *refund),
        Letter::PaymentReturned { order, reason } => payment_returned(order, *reason),
        Letter::OrderRefunded { order, reason } => refunded(order, *reason),
        Letter::OrderShipped {
            order,
            carrier,
            tracking_number,
        } => shipped(order, carrier, tracking_number),
        Letter::WaitlistOffer {
            product,
            quantity,
            accept_by,
        } => offered(product, *quantity, accept_by),
    }
}

fn about(
    subject: &'static str,
    order: &OrderSummary,
    before: String,
    after: Vec<&'static str>,
) -> Text<'static> {
    Text {
        subject,
        before: vec!["안녕하세요.".to_owned(), before],
        code: None,
        bill: bill(order),
        after: after.into_iter().map(str::to_owned).collect(),
        footer: FOOTER,
    }
}

fn bill(order: &OrderSummary) -> Vec<Row> {
    let mut rows: Vec<Row> = order
        .lines
        .iter()
        .map(|it| row(it, Language::Korean))
        .collect();
    if order.more_lines > 0 {
        rows.push(Row {
            what: format!("외 {}건", order.more_lines),
            price: String::new(),
        });
    }
    rows.push(Row {
        what: "합계".to_owned(),
        price: total(order),
    });
    rows
}

fn total(order: &OrderSummary) -> String {
    order.total.spelled(Language::Korean)
}

fn held(order: &OrderSummary, pay_by: &Zoned) -> Text<'static> {
    about(
        "주문하신 상품을 확보해 두었습니다",
        order,
        format!(
            "회원님의 주문 {}의 상품을 모두 확보해 두었습니다. {}까지 결제해 주세요. 그 이후에는 확보가 해제됩니다.",
            order.id,
            spelled(pay_by, Language::Korean)
        ),
        vec![
            "결제하시려면 로그인하신 후 주문 내역에서 이 주문을 열고 결제 수단을 선택해 주세요.",
            "더 이상 원하지 않으시면 따로 하실 일은 없습니다. 주문 내역에서 바로 취소하실 수도 있습니다.",
        ],
    )
}

fn paid(order: &OrderSummary) -> Text<'static> {
    about(
        "결제가 완료되었습니다",
        order,
        format!(
            "감사합니다. 주문 {}의 결제 금액 {}을 받았습니다.",
            order.id,
            total(order)
        ),
        vec![
            "상품이 발송되면 다시 알려 드리겠습니다. 발송 전까지는 주문 내역에서 취소하고 전액 환불받으실 수 있습니다.",
        ],
    )
}

fn expired(order: &OrderSummary) -> Text<'static> {
    about(
        "상품 확보 기한이 지났습니다",
        order,
        format!(
            "주문({})이 기한 안에 결제되지 않아 상품 확보가 해제되었습니다.",
            order.id
        ),
        vec![
            "따로 하실 일은 없습니다. 진행 중이던 결제가 있었다면 주문이 그대로 완료되거나 전액 환불되며, 결과를 다시 알려 드리겠습니다.",
            "여전히 원하신다면 다시 주문해 주세요. 아직 남은 상품이 있을 수 있습니다.",
        ],
    )
}

fn cancelled(order: &OrderSummary, refund: bool) -> Text<'static> {
    let money = match refund {
        true => "결제하신 금액은 전액 환불됩니다. 환불이 처리되면 다시 알려 드리겠습니다.",
        false => "결제하실 금액은 없습니다. 진행 중이던 결제가 있었다면 전액 환불됩니다.",
    };
    about(
        "주문이 취소되었습니다",
        order,
        format!("요청에 따라 주문({})이 취소되었습니다.", order.id),
        vec![money],
    )
}

fn payment_returned(order: &OrderSummary, reason: RefundReason) -> Text<'static> {
    let (total, id) = (total(order), order.id);
    let what = match reason {
        RefundReason::TooLate => format!(
            "주문 {id}의 결제 금액 {total}이 확보 기한이 지난 뒤에 도착하여, 주문을 이행해 드릴 수 없게 되었습니다."
        ),
        RefundReason::Cancelled => {
            format!("주문 {id}의 결제 금액 {total}이 주문이 취소된 뒤에 도착했습니다.")
        }
        RefundReason::Returned | RefundReason::PaidTwice => format!(
            "이미 결제된 주문 {id}에 {total}이 한 번 더 결제되었습니다. 주문은 그대로 유지됩니다."
        ),
    };
    about(
        "결제 금액을 돌려드립니다",
        order,
        what,
        vec!["전액 환불되며 따로 하실 일은 없습니다. 환불이 처리되면 다시 알려 드리겠습니다."],
    )
}

fn refunded(order: &OrderSummary, reason: RefundReason) -> Text<'static> {
    let (total, id) = (total(order), order.id);
    let what = match reason {
        RefundReason::Cancelled => {
            format!("주문({id})이 취소되어 결제하신 {total}을 환불해 드렸습니다.")
        }
        RefundReason::TooLate => format!(
            "주문 {id}의 결제가 확보 기한이 지난 뒤에 도착하여 주문을 이행해 드릴 수 없었습니다. 결제하신 {total}을 전액 환불해 드렸습니다."
        ),
        RefundReason::Returned => {
            format!("주문 {id}의 반품이 접수되어 결제하신 {total}을 환불해 드렸습니다.")
        }
        RefundReason::PaidTwice => format!(
            "주문({id})이 두 번 결제되어 나중에 결제하신 {total}을 전액 환불해 드렸습니다. 주문은 그대로 유지됩니다."
        ),
    };
    about(
        "환불이 처리되었습니다",
        order,
        what,
        vec![
            "결제하신 수단으로 환불됩니다. 은행이나 카드사에 따라 확인되기까지 며칠이 걸릴 수 있습니다.",
        ],
    )
}

fn shipped(order: &OrderSummary, carrier: &str, tracking_number: &str) -> Text<'static> {
    about(
        "상품이 발송되었습니다",
        order,
        format!(
            "주문 {}의 상품이 발송되었습니다. 택배사: {}, 운송장 번호: {}",
            order.id,
            name(carrier),
            name(tracking_number)
        ),
        vec!["이 번호로 택배사에서 언제든지 배송 상황을 확인하실 수 있습니다."],
    )
}

fn offered(product: &str, quantity: u32, accept_by: &Zoned) -> Text<'static> {
    let (product, deadline) = (name(product), spelled(accept_by, Language::Korean));
    Text {
        subject: "기다리시던 차례가 되었습니다",
        before: vec![
            "안녕하세요.".to_owned(),
            format!(
                "기다리시던 {product}의 차례가 되었습니다. {quantity}개를 {deadline}까지 회원님 몫으로 남겨 두었습니다."
            ),
        ],
        code: None,
        bill: Vec::new(),
        after: vec![
            "받으시려면 로그인하신 후 해당 상품을 열고 기한 안에 주문해 주세요.".to_owned(),
            "아무것도 하지 않으시면 제안은 저절로 끝납니다. 처음 한 번은 대기 줄의 맨 뒤에서 계속 기다리실 수 있습니다."
                .to_owned(),
        ],
        footer: FOOTER,
    }
}
