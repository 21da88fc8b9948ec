//! Any event at all, whether or not a shop could ever record it.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::domain::*;

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        order_placed().prop_map(Event::OrderPlaced),
        (
            any::<u128>(),
            time(),
            option::of(mark()),
            order_change(),
            postings()
        )
            .prop_map(|(order, at, mark, change, postings)| Event::OrderChanged {
                order: OrderId::new(order),
                at,
                mark,
                change,
                postings,
            }),
        (any::<u128>(), time(), mark(), product_change(), postings()).prop_map(
            |(product, at, mark, change, postings)| Event::ProductChanged {
                product: ProductId::new(product),
                at,
                mark,
                change,
                postings,
            }
        ),
        (any::<u128>(), time(), waitlist_change(), postings()).prop_map(
            |(product, at, change, postings)| Event::WaitlistChanged {
                product: ProductId::new(product),
                at,
                change,
                postings,
            }
        ),
    ]
}

fn waitlist_change() -> impl Strategy<Value = WaitlistChange> {
    prop_oneof![
        units_of().prop_map(|(buyer, quantity)| WaitlistChange::Joined {
            buyer: BuyerId::new(buyer),
            quantity,
        }),
        any::<u128>().prop_map(|buyer| WaitlistChange::Left {
            buyer: BuyerId::new(buyer),
        }),
        (vec(units_of(), 0..5), time()).prop_map(|(offers, deadline)| {
            let offers = offers.into_iter();
            WaitlistChange::Offered {
                offers: offers
                    .map(|(buyer, units)| (BuyerId::new(buyer), units))
                    .collect(),
                deadline,
            }
        }),
        any::<u128>().prop_map(|buyer| WaitlistChange::Lapsed {
            buyer: BuyerId::new(buyer),
        }),
        Just(WaitlistChange::Ended),
    ]
}

fn units_of() -> impl Strategy<Value = (u128, Quantity)> {
    (any::<u128>(), quantity())
}

fn quantity() -> impl Strategy<Value = Quantity> {
    (1..=Quantity::MAX).prop_map(|units| Quantity::new(units).expect("a quantity"))
}

fn order_placed() -> impl Strategy<Value = OrderPlaced> {
    let ids = any::<[u128; 3]>();
    let address = option::of(any::<u128>());
    (
        ids,
        any::<u64>(),
        address,
        time(),
        time(),
        vec(line(), 0..5),
        vec(units_of(), 0..3),
    )
        .prop_map(
            |([order, buyer, key], fingerprint, address, at, deadline, lines, offers)| {
                OrderPlaced {
                    order: OrderId::new(order),
                    buyer: BuyerId::new(buyer),
                    key: KeyHash::new(key),
                    fingerprint: Fingerprint(fingerprint),
                    address: address.map(AddressId::new),
                    at,
                    deadline,
                    lines,
                    offers: offers
                        .into_iter()
                        .map(|(product, units)| OfferTaken {
                            product: ProductId::new(product),
                            units,
                        })
                        .collect(),
                }
            },
        )
}

fn line() -> impl Strategy<Value = Line> {
    (any::<u128>(), quantity(), money()).prop_map(|(product, quantity, unit_price)| Line {
        product: ProductId::new(product),
        quantity,
        unit_price,
    })
}

fn order_change() -> impl Strategy<Value = OrderChange> {
    prop_oneof![
        Just(OrderChange::Cancelled),
        Just(OrderChange::CancelRequested),
        Just(OrderChange::Expired),
        Just(OrderChange::Completed),
        Just(OrderChange::Restocked),
        payment_started(),
        attempt().prop_map(|attempt| OrderChange::PaymentDeferred { attempt }),
        attempt().prop_map(|attempt| OrderChange::PaymentDeclined { attempt }),
        attempt().prop_map(|attempt| OrderChange::PaymentCaptured { attempt }),
        attempt().prop_map(|attempt| OrderChange::PaymentReclaimed { attempt }),
        attempt().prop_map(|attempt| OrderChange::PaymentUnfulfilled { attempt }),
        attempt().prop_map(|attempt| OrderChange::PaymentReturned { attempt }),
        attempt().prop_map(|attempt| OrderChange::RefundStarted { attempt }),
        attempt().prop_map(|attempt| OrderChange::Refunded { attempt }),
        (text(), text()).prop_map(|(carrier, tracking_number)| OrderChange::Shipped {
            carrier,
            tracking_number
        }),
        time().prop_map(|return_until| OrderChange::Delivered { return_until }),
        text().prop_map(|reason| OrderChange::ReturnRequested { reason }),
        (attempt(), time()).prop_map(|(attempt, restock_at)| OrderChange::ReturnAccepted {
            attempt,
            restock_at
        }),
    ]
}

fn payment_started() -> impl Strategy<Value = OrderChange> {
    (attempt(), any::<u128>(), any::<u64>(), text(), time()).prop_map(
        |(attempt, key, fingerprint, method, deadline)| OrderChange::PaymentStarted {
            attempt,
            key: KeyHash::new(key),
            fingerprint: Fingerprint(fingerprint),
            method,
            deadline,
        },
    )
}

fn product_change() -> impl Strategy<Value = ProductChange> {
    let restock_to = prop_oneof![Just(RestockTo::Available), Just(RestockTo::Withdrawn)];
    prop_oneof![
        (details(), restock_to).prop_map(|(details, restock_to)| ProductChange::Registered {
            details,
            restock_to
        }),
        (details(), details()).prop_map(|(before, after)| ProductChange::Edited { before, after }),
        Just(ProductChange::Deleted),
        any::<[u64; 3]>().prop_map(|[before, after, withdrawal_pending]| {
            ProductChange::StockSet {
                before,
                after,
                withdrawal_pending,
            }
        }),
        (act(), option::of(window()), window())
            .prop_map(|(act, before, after)| { ProductChange::WindowSet { act, before, after } }),
    ]
}

fn act() -> impl Strategy<Value = WindowAct> {
    prop_oneof![
        Just(WindowAct::Schedule),
        Just(WindowAct::Open),
        Just(WindowAct::Pause),
        Just(WindowAct::Resume),
        Just(WindowAct::Close),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    let limit = option::of(any::<u32>());
    (
        time(),
        option::of(time()),
        any::<bool>(),
        limit,
        any::<u64>(),
    )
        .prop_map(
            |(opens_at, closes_at, paused, per_person_limit, hold_ttl)| Window {
                opens_at,
                closes_at,
                paused,
                per_person_limit,
                hold_ttl: Span::from_micros_u64(hold_ttl),
            },
        )
}

fn details() -> impl Strategy<Value = Details> {
    (text(), text(), option::of(text()), money()).prop_map(
        |(name, description, image_url, price)| Details {
            name,
            description,
            image_url,
            price,
        },
    )
}

fn postings() -> impl Strategy<Value = Vec<Posting>> {
    let posting =
        (any::<u128>(), bucket(), bucket(), any::<u64>()).prop_map(|(product, from, to, units)| {
            Posting {
                product: ProductId::new(product),
                from,
                to,
                units,
            }
        });
    vec(posting, 0..4)
}

fn bucket() -> impl Strategy<Value = Bucket> {
    prop_oneof![
        Just(Bucket::Outside),
        Just(Bucket::Available),
        Just(Bucket::Held),
        Just(Bucket::Offered),
        Just(Bucket::Sold),
        Just(Bucket::Returning),
        Just(Bucket::Withdrawn),
    ]
}

fn mark() -> impl Strategy<Value = AdminMark> {
    any::<[u128; 2]>().prop_map(|[admin, request]| AdminMark {
        admin: BuyerId::new(admin),
        request: RequestId::new(request),
    })
}

fn money() -> impl Strategy<Value = Money> {
    (any::<i64>(), "[A-Z]{3}").prop_map(|(amount, code)| Money {
        amount,
        currency: Currency::parse(&code).expect("a currency"),
    })
}

fn attempt() -> impl Strategy<Value = AttemptId> {
    any::<u128>().prop_map(AttemptId::new)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_micros)
}

fn text() -> impl Strategy<Value = Box<str>> {
    ".{0,20}".prop_map(String::into_boxed_str)
}
