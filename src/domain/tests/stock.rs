//! Properties of any stock: units change buckets, and nothing else ever happens to them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::product;
use crate::domain::{
    Availability, Bucket, BuyerId, Posting, Product, ProductId, Quantity, Rejection, RestockTo,
    Stock, Timestamp, Waitlist, Window,
};

const BUCKETS: [Bucket; 6] = [
    Bucket::Available,
    Bucket::Held,
    Bucket::Offered,
    Bucket::Sold,
    Bucket::Returning,
    Bucket::Withdrawn,
];

/// Any stock that the rules allow: a withdrawal waits only while nothing is free, and for no more than is committed.
fn stock() -> impl Strategy<Value = Stock> {
    (
        0_u64..20,
        0_u64..20,
        0_u64..5,
        0_u64..20,
        0_u64..5,
        0_u64..20,
        0_u64..50,
    )
        .prop_map(
            |(available, held, offered, sold, returning, withdrawn, pending)| {
                let withdrawal_pending = pending.min(held + offered + sold + returning);
                let available = if withdrawal_pending > 0 { 0 } else { available };
                Stock {
                    available,
                    held,
                    offered,
                    sold,
                    returning,
                    withdrawn,
                    withdrawal_pending,
                }
            },
        )
}

fn restock_to() -> impl Strategy<Value = RestockTo> {
    prop_oneof![Just(RestockTo::Available), Just(RestockTo::Withdrawn)]
}

fn post_all(product: &mut Product, postings: impl IntoIterator<Item = Posting>) {
    for posting in postings {
        assert!(posting.units > 0, "an idle posting");
        product.post(&posting, None);
    }
}

proptest! {
    #[test]
    fn legal_postings_conserve_every_unit(moves in vec((0..6_usize, 0..6_usize, 1_u64..9), 0..60)) {
        let mut stock = Stock { available: 30, ..Stock::default() };
        for (from, to, wanted) in moves {
            let (from, to) = (BUCKETS[from], BUCKETS[to]);
            let units = wanted.min(stock.units(from));
            stock.post(&Posting { product: ProductId::new(1), from, to, units });
            let sum: u64 = BUCKETS.iter().map(|bucket| stock.units(*bucket)).sum();
            prop_assert_eq!((sum, stock.total()), (30, 30));
        }
    }

    #[test]
    fn a_shopper_is_told_the_truth(stock in stock()) {
        let may_come_back = stock.held + stock.offered + stock.returning > stock.withdrawal_pending;
        let word = match (stock.available > 0, may_come_back) {
            (true, _) => Availability::Available,
            (false, true) => Availability::AllHeld,
            (false, false) => Availability::SoldOut,
        };
        prop_assert_eq!(stock.availability(), word);
    }

    #[test]
    fn freed_units_go_to_a_withdrawal_first(stock in stock(), share in 0_u64..=100) {
        for from in [Bucket::Held, Bucket::Sold] {
            let mut product = product(stock, RestockTo::Available);
            let units = stock.units(from) * share / 100;
            let postings: Vec<Posting> = product.free(from, units).collect();
            post_all(&mut product, postings);
            let swallowed = units.min(stock.withdrawal_pending);
            let after = &product.stock;
            prop_assert_eq!(after.units(from), stock.units(from) - units);
            prop_assert_eq!(after.withdrawn, stock.withdrawn + swallowed);
            prop_assert_eq!(after.withdrawal_pending, stock.withdrawal_pending - swallowed);
            prop_assert_eq!(after.available, stock.available + units - swallowed);
        }
    }

    #[test]
    fn a_restock_goes_where_the_product_says(stock in stock(), restock_to in restock_to()) {
        let mut product = product(stock, restock_to);
        prop_assume!(stock.returning > 0);
        let units = stock.returning;
        let postings: Vec<Posting> = product.restock(units).collect();
        post_all(&mut product, postings);
        let swallowed = units.min(stock.withdrawal_pending);
        let after = &product.stock;
        prop_assert_eq!((after.returning, after.total()), (0, stock.total()));
        prop_assert_eq!(after.withdrawal_pending, stock.withdrawal_pending - swallowed);
        let back = if restock_to == RestockTo::Available { units - swallowed } else { 0 };
        prop_assert_eq!(after.available, stock.available + back);
    }

    #[test]
    fn a_stock_that_is_set_is_the_stock_in_the_sale(stock in stock(), wanted in 0_u64..100) {
        let mut product = product(stock, RestockTo::Available);
        let decided = product.decide_stock(wanted);
        if wanted < stock.sold {
            prop_assert_eq!(decided, Err(Rejection::BelowSold { total: wanted, sold: stock.sold }));
            return Ok(());
        }
        let (change, postings) = decided.unwrap();
        post_all(&mut product, postings);
        product.apply(&change);
        let after = product.stock;
        prop_assert_eq!(after.total() - after.withdrawn - after.withdrawal_pending, wanted);
        prop_assert!(after.withdrawal_pending == 0 || after.available == 0, "free units are withdrawn at once");
        let committed = |it: &Stock| (it.held, it.offered, it.sold, it.returning);
        prop_assert_eq!(committed(&after), committed(&stock), "nobody's hold dies");
        let supplied = after.total() - stock.total();
        prop_assert!(supplied == 0 || after.withdrawn == 0, "withdrawn units come back before new ones");
    }

    #[test]
    fn a_product_that_is_deleted_owes_nobody_anything(stock in stock()) {
        let committed = stock.held + stock.offered + stock.sold + stock.returning;
        let deleted = product(stock, RestockTo::Available).decide_delete();
        prop_assert_eq!(deleted.is_ok(), committed == 0);
    }
}

#[test]
fn a_stock_has_a_limit() {
    let product = product(Stock::default(), RestockTo::Available);
    let total_max = Product::TOTAL_MAX;
    assert!(product.decide_stock(total_max).is_ok());
    assert_eq!(
        product.decide_stock(total_max + 1),
        Err(Rejection::StockTooLarge { total_max })
    );
}

#[test]
fn a_waitlist_has_an_end() {
    let mut product = product(Stock::default(), RestockTo::Available);
    product.window = Some(Window::open_from(Timestamp::ZERO));
    let one = Quantity::new(1).unwrap();
    let joins =
        |product: &Product, buyer| product.decide_join(BuyerId::new(buyer), one, Timestamp::ZERO);
    let waiters_max = u64::try_from(Waitlist::WAITERS_MAX).unwrap();
    for sequence in 1..=waiters_max {
        let joined = joins(&product, sequence.into()).expect("there is room");
        let joined = joined.expect("not there yet");
        product.apply_to_waitlist(sequence, Timestamp::ZERO, &joined, &[]);
    }
    let refused = Rejection::WaitlistFull {
        product: product.id,
        waiters_max: Waitlist::WAITERS_MAX,
    };
    assert_eq!(joins(&product, u128::MAX), Err(refused));
}

#[test]
#[should_panic(expected = "overflowed")]
fn an_overflow_stops_the_engine() {
    let mut stock = Stock {
        available: u64::MAX,
        ..Stock::default()
    };
    stock.post(&Posting {
        product: ProductId::new(1),
        from: Bucket::Outside,
        to: Bucket::Available,
        units: 1,
    });
}
