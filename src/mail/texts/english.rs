//! The letters in English.

use jiff::Zoned;

use super::{Language, Letter, OrderSummary, RefundReason, Row, Text, name, row, spelled};

const FOOTER: &str = "Layby sends this letter by itself; nobody reads answers to it.";

pub(super) fn text(letter: &Letter) -> Text<'_> {
    let footer = FOOTER;
    let keep_secret = "Tell this code to nobody. We never ask for it.";
    match letter {
        Letter::VerifyEmail {
            username,
            code,
            minutes,
        } => Text {
            subject: "Confirm your e-mail address",
            before: vec![
                format!("Hello {},", name(username)),
                format!(
                    "please confirm the e-mail address of your Layby account with this code. It works once, within {}.",
                    in_minutes(*minutes)
                ),
            ],
            code: Some(code),
            bill: Vec::new(),
            after: vec![
                keep_secret.to_owned(),
                "If you did not sign up, you need not do anything: without the code nobody can use your address."
                    .to_owned(),
            ],
            footer,
        },
        Letter::AddressInUse {} => Text {
            subject: "Somebody tried to sign up with your address",
            before: vec![
                "Hello,".to_owned(),
                "somebody, perhaps you, tried to sign up for Layby with this e-mail address. There is an account with it already, so no new one was made, and nothing has changed.".to_owned(),
                "If it was you, please sign in with the account that you have. If you do not remember its password, choose \"Forgot password\" to set a new one.".to_owned(),
                "If it was not you, you need not do anything. Whoever it was has not learned that you have an account.".to_owned(),
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
            subject: "Set a new password",
            before: vec![
                format!("Hello {},", name(username)),
                format!(
                    "somebody, we hope you, asked to set a new password for your Layby account. This is the code for it. It works once, within {}.",
                    in_minutes(*minutes)
                ),
            ],
            code: Some(code),
            bill: Vec::new(),
            after: vec![
                keep_secret.to_owned(),
                "If it was not you, you need not do anything: your password stays as it is.".to_owned(),
            ],
            footer,
        },
        Letter::PasswordChanged {} => Text {
            subject: "Your password was changed",
            before: vec![
                "Hello,".to_owned(),
                "the password of your Layby account was changed. If it was you, all is well.".to_owned(),
                "If it was not you, please set a new password at once: choose \"Forgot password\" where you sign in. That also ends every sign-in that is not yours.".to_owned(),
            ],
            code: None,
            bill: Vec::new(),
            after: Vec::new(),
            footer,
        },
        Letter::SignedOutEverywhere {} => Text {
            subject: "You were signed out for your safety",
            before: vec![
                "Hello,".to_owned(),
                "a key that keeps you signed in to Layby was used twice. Somebody may have copied it. To be safe we have ended that sign-in on every device that used it.".to_owned(),
                "Please sign in again. If you see anything in your account that you did not do, set a new password: choose \"Forgot password\" where you sign in.".to_owned(),
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

fn in_minutes(minutes: u32) -> String {
    match minutes {
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
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
        before: vec!["Hello,".to_owned(), before],
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
        .map(|it| row(it, Language::English))
        .collect();
    if order.more_lines > 0 {
        rows.push(Row {
            what: format!("and {} more", order.more_lines),
            price: String::new(),
        });
    }
    rows.push(Row {
        what: "Total".to_owned(),
        price: total(order),
    });
    rows
}

fn total(order: &OrderSummary) -> String {
    order.total.spelled(Language::English)
}

fn held(order: &OrderSummary, pay_by: &Zoned) -> Text<'static> {
    about(
        "Your order is held for you",
        order,
        format!(
            "we hold everything in order {} for you. Please pay before {}; the hold ends then.",
            order.id,
            spelled(pay_by, Language::English)
        ),
        vec![
            "To pay, sign in to the shop, open this order among your orders, and choose how you would like to pay.",
            "If you do not want it any more, you need not do anything; you can also cancel it there at once.",
        ],
    )
}

fn paid(order: &OrderSummary) -> Text<'static> {
    about(
        "Your order is paid",
        order,
        format!(
            "thank you: we have received {} for order {}.",
            total(order),
            order.id
        ),
        vec![
            "We write again when it is shipped. Until then you can cancel it among your orders, and get back all you have paid.",
        ],
    )
}

fn expired(order: &OrderSummary) -> Text<'static> {
    about(
        "Your hold has ended",
        order,
        format!(
            "order {} was not paid in time, so we do not hold it for you any longer.",
            order.id
        ),
        vec![
            "You need not do anything. If a payment was still under way, it either completes your order after all or goes back to you in full, and we tell you which.",
            "If you would still like it, please place a new order; perhaps there is something left.",
        ],
    )
}

fn cancelled(order: &OrderSummary, refund: bool) -> Text<'static> {
    let money = match refund {
        true => {
            "What you have paid goes back to you in full. We write again when it is on its way."
        }
        false => {
            "There is nothing to pay. If a payment was still under way, it goes back to you in full."
        }
    };
    about(
        "Your order is cancelled",
        order,
        format!("order {} is cancelled, as it was asked for.", order.id),
        vec![money],
    )
}

fn payment_returned(order: &OrderSummary, reason: RefundReason) -> Text<'static> {
    let (total, id) = (total(order), order.id);
    let what = match reason {
        RefundReason::TooLate => format!(
            "your payment of {total} for order {id} came after the hold had ended, when it could not be fulfilled any more."
        ),
        RefundReason::Cancelled => {
            format!("your payment of {total} for order {id} came after the order was cancelled.")
        }
        RefundReason::Returned | RefundReason::PaidTwice => format!(
            "a second payment of {total} came for order {id}, which was paid already. Your order stays as it is."
        ),
    };
    about(
        "Your payment goes back to you",
        order,
        what,
        vec![
            "All of it goes back to you, and you need not do anything. We write again when it is on its way.",
        ],
    )
}

fn refunded(order: &OrderSummary, reason: RefundReason) -> Text<'static> {
    let (total, id) = (total(order), order.id);
    let what = match reason {
        RefundReason::Cancelled => {
            format!("order {id} is cancelled, and we have given back what was paid: {total}.")
        }
        RefundReason::TooLate => format!(
            "your payment for order {id} came after the hold had ended, when it could not be fulfilled any more. We have given it back in full: {total}."
        ),
        RefundReason::Returned => format!(
            "we have accepted what you sent back of order {id}, and have given back what you paid: {total}."
        ),
        RefundReason::PaidTwice => format!(
            "order {id} was paid twice. We have given back the second payment in full: {total}. Your order stays as it is."
        ),
    };
    about(
        "Your money is on its way back",
        order,
        what,
        vec![
            "It comes the way you paid. Until you can see it there, some days may pass, depending on your bank.",
        ],
    )
}

fn shipped(order: &OrderSummary, carrier: &str, tracking_number: &str) -> Text<'static> {
    about(
        "Your order is on its way",
        order,
        format!(
            "order {} has left for you, with {} under the tracking number {}.",
            order.id,
            name(carrier),
            name(tracking_number)
        ),
        vec!["With this number you can ask the carrier at any time where it is."],
    )
}

fn offered(product: &str, quantity: u32, accept_by: &Zoned) -> Text<'static> {
    let (product, deadline) = (name(product), spelled(accept_by, Language::English));
    Text {
        subject: "It is your turn",
        before: vec![
            "Hello,".to_owned(),
            format!(
                "you waited for {product}, and now it is your turn: {quantity} of it {} for you until {deadline}.",
                match quantity {
                    1 => "is set aside",
                    _ => "are set aside",
                }
            ),
        ],
        code: None,
        bill: Vec::new(),
        after: vec![
            "To take the offer, sign in to the shop, open the product, and place your order before then.".to_owned(),
            "If you do nothing, the offer ends by itself. The first time you stay in line, at its end.".to_owned(),
        ],
        footer: FOOTER,
    }
}
