//! The rules one by one: every state, every edge, and properties of any stock at all.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "small numbers in tests; a panic is a failure"
)]

mod deadlines;
mod hash_buckets;
mod money;
mod order;
mod stock;
mod window;

use super::{Currency, Details, Money, Product, ProductId, RestockTo, Stock, Timestamp};

fn krw(amount: i64) -> Money {
    Money {
        amount,
        currency: Currency::parse("KRW").unwrap(),
    }
}

fn product(stock: Stock, restock_to: RestockTo) -> Product {
    let details = Details {
        name: "Lamp".into(),
        description: "".into(),
        image_url: None,
        price: krw(100),
    };
    let mut product = Product::new(ProductId::new(1), details, restock_to, Timestamp::ZERO);
    product.stock = stock;
    product
}
