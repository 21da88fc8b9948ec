//! What only the shop may do.

pub mod orders;
pub mod products;

use actix_web::web;

pub fn configure(config: &mut web::ServiceConfig) {
    products::configure(config);
    orders::configure(config);
}
