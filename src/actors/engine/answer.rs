//! The answer to each command has a type of its own, found in the reply that comes back.
//!
//! All replies travel in one enum, so that a batch of them is one list. Here alone it is opened: a reply of another kind
//! than its command has is a bug of the core, and is told as one. It must never look like something that passes.

use crate::actors::core::message::{PaymentReply, Refusal, Reply, WaitlistPlace};
use crate::domain::{Order, Snapshot};

/// What a command is answered with.
pub(super) trait Answered: Sized {
    /// Gives back a reply of another kind.
    fn open(reply: Reply) -> Result<Self, Reply>;

    /// # Errors
    /// [`Refusal::WrongReply`], which a debug build does not survive.
    fn expect(reply: Reply) -> Result<Self, Refusal> {
        Self::open(reply).map_err(|reply| {
            let refusal = Refusal::WrongReply {
                expected: std::any::type_name::<Self>(),
                found: kind(&reply),
            };
            debug_assert!(false, "{refusal:?}");
            refusal
        })
    }
}

macro_rules! answered {
    ($($answer:ty: $pattern:pat => $value:expr;)+) => {
        $(
            impl Answered for $answer {
                fn open(reply: Reply) -> Result<Self, Reply> {
                    match reply {
                        $pattern => Ok($value),
                        other => Err(other),
                    }
                }
            }
        )+
    };
}

answered! {
    Box<Order>: Reply::Order(order) => order;
    Vec<Order>: Reply::Orders(orders) => orders;
    Box<PaymentReply>: Reply::Payment(payment) => payment;
    Box<Snapshot>: Reply::Product(snapshot) => snapshot;
    (WaitlistPlace, bool): Reply::Joined(place, is_new) => (*place, is_new);
    Vec<WaitlistPlace>: Reply::Places(places) => places;
    (): Reply::Done => ();
}

/// For the log: what is in a reply may be personal.
const fn kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Order(_) => "Order",
        Reply::Orders(_) => "Orders",
        Reply::Payment(_) => "Payment",
        Reply::Product(_) => "Product",
        Reply::Joined(..) => "Joined",
        Reply::Places(_) => "Places",
        Reply::Done => "Done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_in_the_reply_of_its_kind() {
        assert_eq!(
            Vec::<Order>::expect(Reply::Orders(Vec::new())),
            Ok(Vec::new())
        );
        assert_eq!(<()>::expect(Reply::Done), Ok(()));
    }

    #[test]
    fn a_reply_of_another_kind_is_a_bug() {
        let answered = std::panic::catch_unwind(|| Vec::<Order>::expect(Reply::Done));
        assert_eq!(answered.is_err(), cfg!(debug_assertions));
        if let Ok(answer) = answered {
            assert!(matches!(answer, Err(Refusal::WrongReply { .. })));
        }
    }
}
