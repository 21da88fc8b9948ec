//! The life of one order, from the hold to its end.
//!
//! Each `decide_*` gives the change to record and what it means for the units ([`Release`]); the products work out
//! the postings. A hold ends by `now >= deadline`, whatever a timer does.

use super::{
    AddressId, Attempt, AttemptId, AttemptState, Bucket, BuyerId, Fingerprint, KeyHash, Lines,
    Money, OrderChange, OrderId, OrderPlaced, PaymentAnswer, PaymentOutcome, RefundState,
    Rejection, Span, Timestamp,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum OrderState {
    Held,
    Paying,
    CancelRequested,
    Paid,
    Refunding,
    Cancelled,
    Expired,
    PaidUnfulfilled,
    Refunded,
    Shipped,
    Delivered,
    Completed,
    ReturnRequested,
    Returned,
}

/// What a change of an order does to its units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    /// They stay where they are.
    Keep,
    /// Held units come free.
    FreeHeld,
    /// Held units are bought.
    Sell,
    /// Sold units come free.
    FreeSold,
    /// Free units are bought for a hold that had ended.
    Reclaim,
    /// Sold units are on their way back.
    SendBack,
    /// Returned units are put back.
    Restock,
}

/// Whether the units of an ended hold can be had again; asked only when it matters.
pub type ReclaimCheck<'a> = &'a dyn Fn(&Order) -> bool;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    pub id: OrderId,
    pub buyer: BuyerId,
    /// Place in the order of decisions, engine-wide: the number of its record.
    pub sequence: u64,
    pub key: KeyHash,
    pub fingerprint: Fingerprint,
    pub address: Option<AddressId>,
    pub lines: Lines,
    pub state: OrderState,
    pub placed_at: Timestamp,
    /// The deadline as first answered; the deadline itself may be extended once.
    pub pay_by: Timestamp,
    pub deadline: Timestamp,
    pub changed_at: Timestamp,
    pub attempts: Vec<Attempt>,
    pub aftermath: Option<Box<Aftermath>>,
}

/// What is known of an order once it has left the shop.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aftermath {
    pub carrier: Box<str>,
    pub tracking_number: Box<str>,
    pub shipped_at: Timestamp,
    pub delivered_at: Option<Timestamp>,
    pub return_until: Option<Timestamp>,
    pub return_requested_at: Option<Timestamp>,
    pub return_reason: Box<str>,
    pub restock_at: Option<Timestamp>,
    pub restocked: bool,
}

impl OrderState {
    pub const ALL: [Self; 14] = [
        Self::Held,
        Self::Paying,
        Self::CancelRequested,
        Self::Paid,
        Self::Refunding,
        Self::Cancelled,
        Self::Expired,
        Self::PaidUnfulfilled,
        Self::Refunded,
        Self::Shipped,
        Self::Delivered,
        Self::Completed,
        Self::ReturnRequested,
        Self::Returned,
    ];

    /// An end of the state machine. An expired or cancelled order may still see a late payment come and go back.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Cancelled | Self::Expired | Self::Refunded | Self::Completed | Self::Returned
        )
    }

    /// Where the units of an order in this state are; those of a returned one are nowhere once they are `restocked`.
    pub const fn bucket(self, restocked: bool) -> Option<Bucket> {
        match self {
            Self::Held | Self::Paying | Self::CancelRequested => Some(Bucket::Held),
            Self::Paid
            | Self::Shipped
            | Self::Delivered
            | Self::Completed
            | Self::ReturnRequested => Some(Bucket::Sold),
            Self::Returned if !restocked => Some(Bucket::Returning),
            Self::Returned
            | Self::Refunding
            | Self::Cancelled
            | Self::Expired
            | Self::PaidUnfulfilled
            | Self::Refunded => None,
        }
    }
}

type Decision = Result<Option<(OrderChange, Release)>, Rejection>;

impl Order {
    /// The start of a payment keeps the hold alive for at least this long, once.
    pub const PAYMENT_GRACE: Span = Span::from_secs(120);
    /// No hold lasts longer: the longest there is, and the grace of a payment.
    pub const HOLD_MAX: Span = Span::from_secs(30 * 60 + 120);
    pub const ATTEMPTS_MAX: usize = 20;
    pub const LINES_MAX: usize = 50;

    pub fn new(sequence: u64, placed: &OrderPlaced) -> Self {
        Self {
            id: placed.order,
            buyer: placed.buyer,
            sequence,
            key: placed.key,
            fingerprint: placed.fingerprint,
            address: placed.address,
            lines: placed.lines.as_slice().into(),
            state: OrderState::Held,
            placed_at: placed.at,
            pay_by: placed.deadline,
            deadline: placed.deadline,
            changed_at: placed.at,
            attempts: Vec::new(),
            aftermath: None,
        }
    }

    pub fn total(&self) -> i64 {
        self.lines
            .iter()
            .fold(0, |sum: i64, line| sum.saturating_add(line.amount()))
    }

    /// The total in the currency of the order, which is that of its first line.
    pub fn money(&self) -> Money {
        let currency = self.lines.first().map(|line| line.unit_price.currency);
        Money {
            amount: self.total(),
            currency: currency.unwrap_or_default(),
        }
    }

    /// No payment can be running any more: placed + ttl + 120 s.
    pub fn cap(&self) -> Timestamp {
        self.pay_by.plus(Self::PAYMENT_GRACE)
    }

    /// When the hold ends by itself, if it is live.
    pub fn hold_end(&self) -> Option<Timestamp> {
        match self.state {
            OrderState::Held => Some(self.deadline),
            OrderState::Paying | OrderState::CancelRequested => Some(self.cap()),
            _ => None,
        }
    }

    /// When something happens to the order by itself: a hold or a return window ends, a restock is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        let aftermath = self.aftermath.as_deref();
        match self.state {
            OrderState::Delivered => aftermath.and_then(|it| it.return_until),
            OrderState::Returned => aftermath
                .filter(|it| !it.restocked)
                .and_then(|it| it.restock_at),
            _ => self.hold_end(),
        }
    }

    /// Nothing can happen to it any more, not even by itself or by a late word of the provider.
    pub fn is_settled(&self) -> bool {
        self.is_final() && self.is_at_rest()
    }

    /// Nothing happens to it unless somebody asks: no deadline runs, and no provider owes an answer.
    pub fn is_at_rest(&self) -> bool {
        self.next_due().is_none()
            && self
                .attempts
                .iter()
                .all(|attempt| !attempt.is_pending() && attempt.refund != RefundState::Due)
    }

    /// Attempts that took money, whether it went back or not.
    pub fn captured_attempts(&self) -> usize {
        let captured = |attempt: &&Attempt| attempt.state == AttemptState::Captured;
        self.attempts.iter().filter(captured).count()
    }

    /// Where the units of the order are: in which bucket of their products, if in any.
    pub fn bucket(&self) -> Option<Bucket> {
        let restocked = self.aftermath.as_deref().is_some_and(|it| it.restocked);
        self.state.bucket(restocked)
    }

    pub fn is_final(&self) -> bool {
        self.state.is_final()
    }

    pub fn attempt(&self, id: AttemptId) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.id == id)
    }

    pub fn attempt_by_key(&self, key: KeyHash) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.key == key)
    }

    // -- decide --------------------------------------------------------------------------------------------------

    /// What is due by now, if anything.
    pub fn decide_due(&self, now: Timestamp) -> Option<(OrderChange, Release)> {
        if self.next_due().is_none_or(|due| now < due) {
            return None;
        }
        match self.state {
            OrderState::Held | OrderState::Paying => {
                Some((OrderChange::Expired, Release::FreeHeld))
            }
            OrderState::CancelRequested => Some((OrderChange::Cancelled, Release::FreeHeld)),
            OrderState::Delivered => Some((OrderChange::Completed, Release::Keep)),
            OrderState::Returned => Some((OrderChange::Restocked, Release::Restock)),
            _ => None,
        }
    }

    /// The caller has already settled what was due, so a held order is alive here.
    pub fn decide_payment(
        &self,
        attempt: AttemptId,
        key: KeyHash,
        fingerprint: Fingerprint,
        method: &str,
        now: Timestamp,
    ) -> Result<OrderChange, Rejection> {
        self.check_payable()?;
        if self.attempts.len() >= Self::ATTEMPTS_MAX {
            return Err(Rejection::TooManyAttempts {
                attempts_max: Self::ATTEMPTS_MAX,
            });
        }
        Ok(OrderChange::PaymentStarted {
            attempt,
            key,
            fingerprint,
            method: method.into(),
            deadline: self.extended_deadline(now),
        })
    }

    /// `None`: already cancelled, or already asked for; a repeat changes nothing.
    pub fn decide_cancel(&self) -> Decision {
        match self.state {
            OrderState::Held => Ok(Some((OrderChange::Cancelled, Release::FreeHeld))),
            OrderState::Paying => Ok(Some((OrderChange::CancelRequested, Release::Keep))),
            OrderState::Paid => self.start_refund().map(Some),
            OrderState::Cancelled | OrderState::CancelRequested | OrderState::Refunding => Ok(None),
            OrderState::Expired | OrderState::PaidUnfulfilled | OrderState::Refunded => {
                Err(self.hold_expired())
            }
            OrderState::Shipped
            | OrderState::Delivered
            | OrderState::Completed
            | OrderState::ReturnRequested
            | OrderState::Returned => Err(Rejection::TooLateToCancel),
        }
    }

    /// `None`: a duplicate or a stale failure, which changes nothing. A success is never ignored.
    pub fn decide_outcome(
        &self,
        attempt: AttemptId,
        outcome: PaymentOutcome,
        can_reclaim: ReclaimCheck<'_>,
    ) -> Decision {
        let Some(known) = self.attempt(attempt) else {
            return Err(Rejection::NoSuchOrder);
        };
        match (known.state, outcome) {
            (AttemptState::Captured, _) | (AttemptState::Declined, PaymentOutcome::Declined) => {
                Ok(None)
            }
            (AttemptState::Pending, PaymentOutcome::Declined) => {
                Ok(Some(self.after_decline(attempt)))
            }
            (AttemptState::Pending | AttemptState::Declined, PaymentOutcome::Captured) => {
                Ok(Some(self.after_capture(attempt, can_reclaim)))
            }
        }
    }

    /// Tells whether the first answer was still owed when the provider gave no clear one.
    pub fn decide_deferral(&self, attempt: AttemptId) -> Decision {
        let owed = self
            .attempt(attempt)
            .is_some_and(|known| known.is_pending() && known.answer.is_none());
        Ok(owed.then_some((OrderChange::PaymentDeferred { attempt }, Release::Keep)))
    }

    pub fn decide_refunded(&self, attempt: AttemptId) -> Decision {
        let due = self
            .attempt(attempt)
            .is_some_and(|known| known.refund == RefundState::Due);
        Ok(due.then_some((OrderChange::Refunded { attempt }, Release::Keep)))
    }

    /// `None`: it was shipped so. Said in another way, it is not the same act again but a mistake.
    pub fn decide_shipment(&self, carrier: &str, tracking_number: &str) -> Decision {
        let Some(known) = self.aftermath.as_deref() else {
            return self.first_shipment(carrier, tracking_number).map(Some);
        };
        if (&*known.carrier, &*known.tracking_number) != (carrier, tracking_number) {
            return Err(Rejection::AlreadyShipped {
                carrier: known.carrier.clone(),
                tracking_number: known.tracking_number.clone(),
            });
        }
        Ok(None)
    }

    /// `return_until` is the end of the next calendar day in the shop's zone, worked out by the caller.
    pub fn decide_delivery(&self, return_until: Timestamp) -> Decision {
        match self.state {
            OrderState::Shipped => Ok(Some((
                OrderChange::Delivered { return_until },
                Release::Keep,
            ))),
            OrderState::Delivered
            | OrderState::Completed
            | OrderState::ReturnRequested
            | OrderState::Returned => Ok(None),
            _ => Err(Rejection::NotShipped),
        }
    }

    pub fn decide_return_request(&self, reason: &str) -> Decision {
        match self.state {
            OrderState::Delivered => Ok(Some((
                OrderChange::ReturnRequested {
                    reason: reason.into(),
                },
                Release::Keep,
            ))),
            OrderState::ReturnRequested | OrderState::Returned => Ok(None),
            OrderState::Completed => Err(Rejection::ReturnWindowClosed),
            _ => Err(Rejection::NotDelivered),
        }
    }

    /// Refund on acceptance, restock one day after the request.
    pub fn decide_return_acceptance(&self) -> Decision {
        if self.state == OrderState::Returned {
            return Ok(None);
        }
        let requested_at = self
            .aftermath
            .as_deref()
            .and_then(|it| it.return_requested_at);
        let (OrderState::ReturnRequested, Some(requested_at)) = (self.state, requested_at) else {
            return Err(Rejection::ReturnNotRequested);
        };
        let change = OrderChange::ReturnAccepted {
            attempt: self.captured_attempt()?,
            restock_at: requested_at.plus(Span::from_secs(86_400)),
        };
        Ok(Some((change, Release::SendBack)))
    }

    fn check_payable(&self) -> Result<(), Rejection> {
        match self.state {
            OrderState::Held => Ok(()),
            OrderState::Paying => Err(Rejection::PaymentInProgress),
            OrderState::CancelRequested | OrderState::Cancelled => Err(Rejection::OrderCancelled),
            OrderState::Expired | OrderState::PaidUnfulfilled | OrderState::Refunded => {
                Err(self.hold_expired())
            }
            OrderState::Paid
            | OrderState::Refunding
            | OrderState::Shipped
            | OrderState::Delivered
            | OrderState::Completed
            | OrderState::ReturnRequested
            | OrderState::Returned => Err(Rejection::AlreadyPaid),
        }
    }

    /// The one extension: the first attempt alone moves the deadline.
    fn extended_deadline(&self, now: Timestamp) -> Timestamp {
        if !self.attempts.is_empty() {
            return self.deadline;
        }
        self.deadline
            .max(now.plus(Self::PAYMENT_GRACE))
            .min(self.cap())
    }

    fn after_decline(&self, attempt: AttemptId) -> (OrderChange, Release) {
        let change = OrderChange::PaymentDeclined { attempt };
        match self.state {
            OrderState::CancelRequested => (change, Release::FreeHeld),
            _ => (change, Release::Keep),
        }
    }

    fn after_capture(
        &self,
        attempt: AttemptId,
        can_reclaim: ReclaimCheck<'_>,
    ) -> (OrderChange, Release) {
        match self.state {
            OrderState::Held | OrderState::Paying => {
                (OrderChange::PaymentCaptured { attempt }, Release::Sell)
            }
            OrderState::Expired if can_reclaim(self) => {
                (OrderChange::PaymentReclaimed { attempt }, Release::Reclaim)
            }
            OrderState::Expired => (OrderChange::PaymentUnfulfilled { attempt }, Release::Keep),
            OrderState::CancelRequested => {
                (OrderChange::PaymentReturned { attempt }, Release::FreeHeld)
            }
            _ => (OrderChange::PaymentReturned { attempt }, Release::Keep),
        }
    }

    fn first_shipment(
        &self,
        carrier: &str,
        tracking_number: &str,
    ) -> Result<(OrderChange, Release), Rejection> {
        if self.state != OrderState::Paid {
            return Err(Rejection::NotPaid);
        }
        let change = OrderChange::Shipped {
            carrier: carrier.into(),
            tracking_number: tracking_number.into(),
        };
        Ok((change, Release::Keep))
    }

    fn start_refund(&self) -> Result<(OrderChange, Release), Rejection> {
        let attempt = self.captured_attempt()?;
        Ok((OrderChange::RefundStarted { attempt }, Release::FreeSold))
    }

    fn captured_attempt(&self) -> Result<AttemptId, Rejection> {
        self.attempts
            .iter()
            .find(|attempt| {
                attempt.state == AttemptState::Captured && attempt.refund == RefundState::NotDue
            })
            .map(|attempt| attempt.id)
            .ok_or(Rejection::NotPaid)
    }

    fn hold_expired(&self) -> Rejection {
        Rejection::HoldExpired {
            deadline: self.deadline,
        }
    }

    // -- apply ---------------------------------------------------------------------------------------------------

    pub fn apply(&mut self, change: &OrderChange, at: Timestamp) {
        self.changed_at = at;
        match change {
            OrderChange::Cancelled => self.state = OrderState::Cancelled,
            OrderChange::CancelRequested => self.state = OrderState::CancelRequested,
            OrderChange::Expired => self.state = OrderState::Expired,
            OrderChange::PaymentStarted {
                attempt,
                key,
                fingerprint,
                method,
                deadline,
            } => {
                self.state = OrderState::Paying;
                self.deadline = *deadline;
                self.attempts.push(Attempt {
                    id: *attempt,
                    key: *key,
                    fingerprint: *fingerprint,
                    method: method.clone(),
                    started_at: at,
                    state: AttemptState::Pending,
                    answer: None,
                    refund: RefundState::NotDue,
                });
            }
            OrderChange::PaymentDeferred { attempt } => {
                self.answer(*attempt, PaymentAnswer::Pending);
            }
            OrderChange::PaymentDeclined { attempt } => self.apply_decline(*attempt),
            OrderChange::PaymentCaptured { attempt }
            | OrderChange::PaymentReclaimed { attempt } => {
                self.capture(*attempt, PaymentAnswer::Paid, RefundState::NotDue);
                self.state = OrderState::Paid;
            }
            OrderChange::PaymentUnfulfilled { attempt } => {
                self.capture(*attempt, PaymentAnswer::Unfulfilled, RefundState::Due);
                self.state = OrderState::PaidUnfulfilled;
            }
            OrderChange::PaymentReturned { attempt } => {
                self.capture(*attempt, PaymentAnswer::Unfulfilled, RefundState::Due);
                if self.state == OrderState::CancelRequested {
                    self.state = OrderState::Refunding;
                }
            }
            OrderChange::RefundStarted { attempt } => {
                self.owe_refund(*attempt);
                self.state = OrderState::Refunding;
            }
            OrderChange::Refunded { attempt } => self.apply_refund(*attempt),
            OrderChange::Shipped {
                carrier,
                tracking_number,
            } => {
                self.state = OrderState::Shipped;
                self.aftermath = Some(Box::new(Aftermath {
                    carrier: carrier.clone(),
                    tracking_number: tracking_number.clone(),
                    shipped_at: at,
                    ..Aftermath::default()
                }));
            }
            OrderChange::Delivered { return_until } => {
                self.state = OrderState::Delivered;
                let aftermath = self.aftermath_mut();
                aftermath.delivered_at = Some(at);
                aftermath.return_until = Some(*return_until);
            }
            OrderChange::Completed => self.state = OrderState::Completed,
            OrderChange::ReturnRequested { reason } => {
                self.state = OrderState::ReturnRequested;
                let aftermath = self.aftermath_mut();
                aftermath.return_requested_at = Some(at);
                aftermath.return_reason = reason.clone();
            }
            OrderChange::ReturnAccepted {
                attempt,
                restock_at,
            } => {
                self.owe_refund(*attempt);
                self.state = OrderState::Returned;
                self.aftermath_mut().restock_at = Some(*restock_at);
            }
            OrderChange::Restocked => self.aftermath_mut().restocked = true,
        }
    }

    fn apply_decline(&mut self, attempt: AttemptId) {
        self.answer(attempt, PaymentAnswer::Declined);
        if let Some(known) = self.attempt_mut(attempt) {
            known.state = AttemptState::Declined;
        }
        match self.state {
            OrderState::Paying => self.state = OrderState::Held,
            OrderState::CancelRequested => self.state = OrderState::Cancelled,
            _ => {}
        }
    }

    fn apply_refund(&mut self, attempt: AttemptId) {
        if let Some(known) = self.attempt_mut(attempt) {
            known.refund = RefundState::Done;
        }
        let more_due = self
            .attempts
            .iter()
            .any(|other| other.refund == RefundState::Due);
        match self.state {
            _ if more_due => {}
            OrderState::Refunding => self.state = OrderState::Cancelled,
            OrderState::PaidUnfulfilled => self.state = OrderState::Refunded,
            _ => {}
        }
    }

    fn capture(&mut self, attempt: AttemptId, answer: PaymentAnswer, refund: RefundState) {
        self.answer(attempt, answer);
        if let Some(known) = self.attempt_mut(attempt) {
            known.state = AttemptState::Captured;
            known.refund = refund;
        }
    }

    fn owe_refund(&mut self, attempt: AttemptId) {
        if let Some(known) = self.attempt_mut(attempt) {
            known.refund = RefundState::Due;
        }
    }

    /// The first answer stands; what comes later does not change it.
    fn answer(&mut self, attempt: AttemptId, answer: PaymentAnswer) {
        if let Some(known) = self.attempt_mut(attempt) {
            known.answer.get_or_insert(answer);
        }
    }

    fn attempt_mut(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.id == id)
    }

    fn aftermath_mut(&mut self) -> &mut Aftermath {
        self.aftermath.get_or_insert_with(Box::default)
    }
}
