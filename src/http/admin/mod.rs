//! What only the shop may do: products, sales and orders for its staff, users and the audit log for admins alone.

pub(crate) mod audit;
pub(crate) mod export;
pub(crate) mod journeys;
pub(crate) mod orders;
pub(crate) mod products;
pub(crate) mod users;

use actix_web::web;
use uuid::Uuid;

use super::extract::Staff;
use crate::domain::{AdminMark, RequestId};

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    products::configure(config);
    orders::configure(config);
    export::configure(config);
    journeys::configure(config);
    users::configure(config);
    audit::configure(config);
}

/// What the record of an act says about who does it.
fn mark_of(staff: Staff) -> AdminMark {
    AdminMark {
        admin: staff.id,
        request: RequestId::new(Uuid::now_v7().as_u128()),
    }
}
