//! Where what a turn promised goes: the board and the watchers, the payment actors, the lanes of the workers.

use std::sync::Arc;

use super::inbox::SharedEngine;
use crate::actors::core::cell::Cell;
use crate::actors::core::machine::Outlet;
use crate::actors::core::message::{Answer, Effect, ReplyTo};
use crate::actors::core::turn::Turn;

/// Where effects go: the payment actors. What they have no room for comes back.
pub(crate) type EffectSink = Box<dyn FnMut(Vec<Effect>) -> Result<(), Vec<Effect>> + Send>;

pub(super) struct EngineOutlet {
    shared: Arc<SharedEngine>,
    effect_sink: EffectSink,
    /// Answers sorted by lane, to wake each worker once.
    outgoing: Vec<Vec<(u32, Answer)>>,
    /// How many shards were noted anew, while the board is renewed.
    renewed_shards: Option<usize>,
}

impl EngineOutlet {
    /// Renews what the board knows of requests and people, a slice a call: otherwise it would hold what has left memory
    /// for ever, and in the end take everybody for known.
    pub(super) fn renew_board(&mut self, cell: &Cell) {
        let board = &self.shared.board;
        let shard = match self.renewed_shards {
            None if board.begins_renewal() => 0,
            None => return,
            Some(shard) => shard,
        };
        for order in cell.orders_of_shard(shard) {
            let products = order.lines.iter().map(|line| line.product);
            board.note_placed(order.key, order.buyer, products);
        }
        self.renewed_shards = Some(shard + 1);
        if shard + 1 == Cell::SHARDS {
            for (buyer, product) in cell.offers() {
                board.note_in_hand(buyer, product);
            }
            board.end_renewal();
            self.renewed_shards = None;
        }
    }

    pub(super) fn new(shared: Arc<SharedEngine>, effect_sink: EffectSink) -> Self {
        Self {
            shared,
            effect_sink,
            outgoing: Vec::new(),
            renewed_shards: None,
        }
    }

    fn tell_watchers(&self, cell: &Cell, turn: &mut Turn) {
        let Turn {
            changed, places, ..
        } = turn;
        if changed.is_empty() && places.is_empty() {
            return;
        }
        changed.sort_unstable();
        changed.dedup();
        places.sort_unstable();
        places.dedup();
        let orders = changed.drain(..).filter_map(|id| cell.sound_order(id));
        self.shared.watchers.tell(orders);
        let places = places
            .drain(..)
            .filter(|(it, _)| !cell.is_product_broken(*it));
        let places = places.map(|(product, buyer)| (buyer, product, cell.place_on(product, buyer)));
        self.shared.watchers.tell_places(places);
    }
}

impl Outlet for EngineOutlet {
    fn is_watched(&self) -> bool {
        self.shared.watchers.is_anybody()
    }

    fn publish(&mut self, cell: &Cell, turn: &mut Turn) {
        let board = &self.shared.board;
        for placed in turn.placed.drain(..) {
            let products = placed.lines.iter().map(|line| line.product);
            board.note_placed(placed.key, placed.buyer, products);
        }
        for (buyer, product) in turn.offered.drain(..) {
            board.note_in_hand(buyer, product);
        }
        for (product, ()) in turn.touched.drain() {
            // A product that crashed in mid-change shows what was durable until it is rebuilt.
            if cell.is_product_broken(product) {
                continue;
            }
            if let Some((_, product)) = cell.snapshot(product) {
                board.publish(product);
            }
        }
        self.tell_watchers(cell, turn);
    }

    fn perform(&mut self, effects: &mut Vec<Effect>) {
        if let Err(refused) = (self.effect_sink)(std::mem::take(effects)) {
            *effects = refused;
        }
    }

    fn fail(&mut self) {
        self.shared.fail();
    }

    fn answer(&mut self, answers: &mut Vec<(ReplyTo, Answer)>) {
        for (to, answer) in answers.drain(..) {
            let ReplyTo::Slot { lane, slot } = to else {
                continue;
            };
            let lane = lane as usize;
            if self.outgoing.len() <= lane {
                self.outgoing.resize_with(lane + 1, Vec::new);
            }
            self.outgoing[lane].push((slot, answer));
        }
        for (number, answers) in self.outgoing.iter_mut().enumerate() {
            if answers.is_empty() {
                continue;
            }
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            if let Some(lane) = self.shared.lane(number) {
                lane.deliver(answers);
            }
        }
    }
}
