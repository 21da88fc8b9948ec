//! Every problem that HTTP can answer, each in one row.
//!
//! The page `/docs/problems`, the OpenAPI document and the table in `docs/api.md` are made of these rows. A code that was
//! released keeps its spelling and its status: programs decide by them.

use actix_web::http::StatusCode;

/// What a code stands for.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    /// The `type` of the problem: the row's place on the page.
    pub(crate) link: &'static str,
    pub(crate) title: &'static str,
    /// When it is answered, in a sentence for people.
    pub(crate) when: &'static str,
    /// Names of the numbers and ids that the problem carries.
    pub(crate) facts: &'static [&'static str],
    /// `Retry-After` in seconds, at least; absent where waiting alone mends nothing.
    pub(crate) retry_after_secs: Option<u64>,
}

macro_rules! problems {
    ($(
        $variant:ident: $status:ident, $code:ident, $title:literal,
        $when:literal, [$($fact:ident),*] $(, retry after $secs:literal s)?;
    )+) => {
        /// The `code` of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $(#[doc = $when] $variant,)+
        }

        impl Code {
            /// Every code, by status.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            pub(crate) const fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$variant => &Entry {
                        status: StatusCode::$status,
                        code: stringify!($code),
                        link: concat!("/docs/problems#", stringify!($code)),
                        title: $title,
                        when: $when,
                        facts: &[$(stringify!($fact)),*],
                        retry_after_secs: problems!(@retry $($secs)?),
                    },)+
                }
            }
        }
    };
    (@retry) => { None };
    (@retry $secs:literal) => { Some($secs) };
}

problems! {
    MalformedRequest: BAD_REQUEST, malformed_request, "The request cannot be read",
        "the body is not JSON, or broke off", [];
    SignatureInvalid: BAD_REQUEST, signature_invalid, "The signature does not fit",
        "a webhook whose signature is missing, does not fit, or is more than 300 s old or ahead", [];
    IdempotencyKeyRequired: BAD_REQUEST, idempotency_key_required, "Idempotency-Key missing",
        "the header `Idempotency-Key` is missing or doubled", [];
    IdempotencyKeyInvalid: BAD_REQUEST, idempotency_key_invalid, "Idempotency-Key not acceptable",
        "the key is empty, too long or not printable", [];

    Unauthorized: UNAUTHORIZED, unauthorized, "A valid access token is needed",
        "no token, or one that is not valid, has expired or was ended", [];
    InvalidCredentials: UNAUTHORIZED, invalid_credentials, "Wrong name or password",
        "no such name with this password", [];
    InvalidRefreshToken: UNAUTHORIZED, invalid_refresh_token, "Signed out",
        "the refresh token was used, has expired, was ended, or is none", [];

    PaymentDeclined: PAYMENT_REQUIRED, payment_declined, "Payment declined",
        "the provider said no; no unit moved", [payment_id, pay_by];

    Forbidden: FORBIDDEN, forbidden, "Not allowed",
        "the role does not allow it", [];
    EmailNotVerified: FORBIDDEN, email_not_verified, "Address not verified",
        "the address is not verified yet; told only after the right password", [];
    AccountSuspended: FORBIDDEN, account_suspended, "Account suspended",
        "the shop has suspended the account; told only after the right password", [];
    WrongPassword: FORBIDDEN, wrong_password, "Wrong password",
        "the current password is another one", [];

    NotFound: NOT_FOUND, not_found, "Not found",
        "no such path, product, order, address or account, or somebody else's; of a line, the product is named", [product_id];
    MethodNotAllowed: METHOD_NOT_ALLOWED, method_not_allowed, "Method not allowed",
        "a known path, another method; `Allow` names those it takes", [];
    BodyTooSlow: REQUEST_TIMEOUT, body_too_slow, "Body too slow",
        "the body did not arrive within 5 s", [];

    SoldOut: CONFLICT, sold_out, "Sold out",
        "nothing is left and nothing will come back", [short, available, holds, earliest_deadline];
    AllHeld: CONFLICT, all_held, "All units are held",
        "nothing is free, but holds may give units back", [short, available, holds, earliest_deadline];
    InsufficientStock: CONFLICT, insufficient_stock, "Not enough units",
        "fewer units are free than asked for", [short, available, holds, earliest_deadline];
    NotOpen: CONFLICT, not_open, "Not open yet",
        "the window has not opened", [product_id, opens_at, server_time];
    Paused: CONFLICT, paused, "Paused",
        "the sale is paused: no new holds; live ones may pay", [product_id];
    Closed: CONFLICT, closed, "Closed",
        "the sale is over: no new holds; live ones may pay", [product_id];
    LimitReached: CONFLICT, limit_reached, "Limit a person reached",
        "over the limit a person; `order_id` is the live order to resume, if any", [product_id, limit, in_hand, order_id];
    StillAvailable: CONFLICT, still_available, "Nothing to wait for",
        "nobody needs to wait for what can be had", [product_id, available];
    AlreadyWaiting: CONFLICT, already_waiting, "On the list already",
        "on the list already, for another number of units", [product_id, quantity];
    WaitlistFull: CONFLICT, waitlist_full, "The waitlist is full",
        "100,000 people wait already", [product_id, waiters_max];
    TooManyWaitlists: CONFLICT, too_many_waitlists, "On too many waitlists",
        "a person is on 50 waitlists", [waitlists_max];
    CurrencyMismatch: CONFLICT, currency_mismatch, "Different currencies",
        "the lines are in different currencies", [];
    HoldExpired: CONFLICT, hold_expired, "The hold is over",
        "the time to pay has passed", [expired_at];
    OrderCancelled: CONFLICT, order_cancelled, "Cancelled",
        "the order is cancelled or about to be, and takes no payment", [];
    AlreadyPaid: CONFLICT, already_paid, "Already paid",
        "the order is paid", [];
    PaymentInProgress: CONFLICT, payment_in_progress, "A payment is under way",
        "another attempt to pay the order has no result yet", [];
    TooManyAttempts: CONFLICT, too_many_attempts, "Too many attempts to pay",
        "20 attempts were made", [attempts_max];
    PaymentReturned: CONFLICT, payment_returned, "The payment goes back",
        "the money came after the units were gone; it goes back in full", [payment_id];
    TooLateToCancel: CONFLICT, too_late_to_cancel, "Too late to cancel",
        "shipped, or further", [];
    NotPaid: CONFLICT, not_paid, "Not paid",
        "the order would have to be paid", [];
    NotShipped: CONFLICT, not_shipped, "Not shipped",
        "the order would have to be shipped", [];
    NotDelivered: CONFLICT, not_delivered, "Not delivered",
        "the order would have to be delivered", [];
    ReturnNotRequested: CONFLICT, return_not_requested, "No return requested",
        "nobody asked to return the order", [];
    ReturnWindowClosed: CONFLICT, return_window_closed, "Too late to return",
        "the time to return the order has passed", [];
    AlreadyShipped: CONFLICT, already_shipped, "Already shipped",
        "it is on its way by another carrier or under another number", [carrier, tracking_number];
    BelowSold: CONFLICT, below_sold, "Below what is sold",
        "a stock below what buyers own", [total, sold];
    HasCommittedUnits: CONFLICT, has_committed_units, "Units are held, offered or sold",
        "a product with units held, offered, sold or on their way back cannot be deleted", [held, offered, sold, returning];
    UsernameTaken: CONFLICT, username_taken, "Name in use",
        "somebody has that name, or waits to be verified with it", [];
    LastAdmin: CONFLICT, last_admin, "The last admin",
        "nobody could make another admin", [];
    TooManyAddresses: CONFLICT, too_many_addresses, "The address book is full",
        "the book is full", [addresses_max];
    WishlistFull: CONFLICT, wishlist_full, "The wishlist is full",
        "the list has as many lines as an order takes", [lines_max];
    WishlistEmpty: CONFLICT, wishlist_empty, "Nothing to buy",
        "there is nothing on the wishlist", [];

    BodyTooLarge: PAYLOAD_TOO_LARGE, body_too_large, "Body too large",
        "more than 64 KiB", [];
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, unsupported_media_type, "Not JSON",
        "the body is not `application/json`", [];

    InvalidValues: UNPROCESSABLE_ENTITY, invalid_values, "Some values are not acceptable",
        "JSON with bad values; each field is named, with `field` and `detail`", [errors];
    IdempotencyKeyReused: UNPROCESSABLE_ENTITY, idempotency_key_reused, "Idempotency-Key used before",
        "the key was used with another body", [];
    PaymentMismatch: UNPROCESSABLE_ENTITY, payment_mismatch, "Not the order's total",
        "a webhook about another amount or currency than the order's; nothing was settled, and it is in the log as an error", [];
    MailedCodeInvalid: UNPROCESSABLE_ENTITY, code_invalid, "Not the right code",
        "a mailed code that is wrong, used, expired, tried too often, or for an address that nobody has", [];

    TooManyRequests: TOO_MANY_REQUESTS, too_many_requests, "Too many requests",
        "too many wrong passwords, or too many requests without a token", [], retry after 1 s;
    TooManyOpenOrders: TOO_MANY_REQUESTS, too_many_open_orders, "Too many open orders",
        "the account holds as many unpaid orders as it may (50, `LAYBY_OPEN_ORDERS_MAX`)", [orders_max], retry after 1 s;
    TooManyEndedHolds: TOO_MANY_REQUESTS, too_many_ended_holds, "Too many holds given up",
        "so many of its holds ended unpaid within an hour (120, `LAYBY_ENDED_HOLDS_MAX`)", [holds_max], retry after 1 s;
    TooManyOwnStreams: TOO_MANY_REQUESTS, too_many_own_streams, "Too many live streams of yours",
        "the account has ten live streams", [streams_max], retry after 5 s;

    Internal: INTERNAL_SERVER_ERROR, internal, "A fault of the server",
        "a fault of the program or of its data, never of the request; it is in the log as an error, under the `request_id`", [];

    TooManyStreams: SERVICE_UNAVAILABLE, too_many_streams, "Too many live streams",
        "the server has all the live streams it admits", [streams_max], retry after 5 s;
    Busy: SERVICE_UNAVAILABLE, busy, "Busy",
        "more passwords wait to be checked, letters to be written, files or journeys to be made than is admitted", [], retry after 1 s;
    PersonalDataDamaged: SERVICE_UNAVAILABLE, personal_data_damaged, "Personal data cannot be read",
        "sealed data does not open; the log names table and column", [], retry after 1 s;
    Overloaded: SERVICE_UNAVAILABLE, overloaded, "Overloaded",
        "more requests are in flight than are admitted", [], retry after 1 s;
    PaymentsBusy: SERVICE_UNAVAILABLE, payments_busy, "Too many payments",
        "more payments are under way, or refunds due, than are admitted", [], retry after 1 s;
    PaymentsUnavailable: SERVICE_UNAVAILABLE, payments_unavailable, "Nobody can pay just now",
        "the payment provider gives no answers; no attempt was made, the hold stays as it is", [], retry after 1 s;
    MemoryFull: SERVICE_UNAVAILABLE, memory_full, "No memory for more orders",
        "the orders of the last day, kept for repeated requests, take all the memory that they may; no new holds", [], retry after 1 s;
    DiskFull: SERVICE_UNAVAILABLE, disk_full, "The disk is full",
        "there is no room for more of the journal than those need who have something in hand; no new holds", [], retry after 1 s;
    DatabaseBehind: SERVICE_UNAVAILABLE, database_behind, "The database is behind",
        "SQL has been away for longer than the journal's budget; no new holds", [], retry after 1 s;
    JournalFailed: SERVICE_UNAVAILABLE, journal_failed, "The journal failed",
        "nothing is promised until a restart", [], retry after 1 s;
    Recovering: SERVICE_UNAVAILABLE, recovering, "Recovering",
        "an actor crashed and is being rebuilt", [], retry after 1 s;
    ShuttingDown: SERVICE_UNAVAILABLE, shutting_down, "Shutting down",
        "the server is being stopped", [], retry after 1 s;
    TemporarilyUnavailable: SERVICE_UNAVAILABLE, temporarily_unavailable, "Temporarily unavailable",
        "a part of the service, such as the database, is away", [], retry after 1 s;
}
