//! What only the shop may do: products, sales and orders for its staff, users and the audit log for admins alone.

pub(crate) mod audit;
pub(crate) mod export;
pub(crate) mod journeys;
pub(crate) mod orders;
pub(crate) mod products;
pub(crate) mod users;

use uuid::Uuid;

use super::extract::Staff;
use crate::domain::{AdminMark, RequestId};

/// What the record of an act says about who does it.
fn mark_of(staff: Staff) -> AdminMark {
    AdminMark {
        admin: staff.id,
        request: RequestId::new(Uuid::now_v7().as_u128()),
    }
}
