//! What only the shop may do: products, sales and orders for its staff, users and the audit log for admins alone.

pub mod audit;
pub mod orders;
pub mod products;
pub mod users;

use actix_web::web;

pub fn configure(config: &mut web::ServiceConfig) {
    products::configure(config);
    orders::configure(config);
    users::configure(config);
    audit::configure(config);
}
