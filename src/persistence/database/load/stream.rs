//! Orders on their way from the database to whoever needs them all, read ahead by a task: the database looks for the next
//! page while the last one is put to use.

use tokio::sync::mpsc;

use super::scan::{Extras, read_page};
use crate::domain::Order;
use crate::persistence::database::Error;

/// How far the database may be ahead.
const PARTS_AHEAD_MAX: usize = 16;

/// What comes of the database, in this order: for each scan what is added to its orders and then its pages; at last the end.
pub(super) enum Part {
    Begin(Extras),
    /// As the database has it: reading it is left to the one who waits for it.
    Page(String),
    End,
}

pub(super) type Sender = mpsc::Sender<Result<Part, Error>>;

/// Orders as they come. Without an end it ends with an error: what is missing must not look like what never was.
#[derive(Debug)]
pub struct OrderStream {
    parts: mpsc::Receiver<Result<Part, Error>>,
    extras: Extras,
    page: std::vec::IntoIter<Order>,
    is_over: bool,
}

pub(super) fn channel() -> (Sender, OrderStream) {
    let (sender, parts) = mpsc::channel(PARTS_AHEAD_MAX);
    let stream = OrderStream {
        parts,
        extras: Extras::default(),
        page: Vec::new().into_iter(),
        is_over: false,
    };
    (sender, stream)
}

impl OrderStream {
    /// All that are still to come.
    pub(super) async fn gather(mut self) -> Result<Vec<Order>, Error> {
        let mut orders = Vec::new();
        while !self.is_over {
            let part = self.parts.recv().await;
            self.accept(part)?;
            orders.extend(self.page.by_ref());
        }
        Ok(orders)
    }

    /// Why nothing has come.
    pub(super) async fn failure(mut self) -> Error {
        match self.parts.recv().await {
            Some(Err(error)) => error,
            Some(Ok(_)) | None => Error::Stopped,
        }
    }

    fn accept(&mut self, part: Option<Result<Part, Error>>) -> Result<(), Error> {
        let accepted = self.accept_sound(part.unwrap_or(Err(Error::Stopped)));
        self.is_over |= accepted.is_err();
        accepted
    }

    fn accept_sound(&mut self, part: Result<Part, Error>) -> Result<(), Error> {
        match part? {
            Part::Begin(extras) => self.extras = extras,
            Part::End => self.is_over = true,
            Part::Page(page) => {
                let page = read_page(&page)?.into_iter();
                let page: Vec<Order> = page.map(|order| self.extras.add_to(order)).collect();
                self.page = page.into_iter();
            }
        }
        Ok(())
    }
}

/// On a thread that may block.
impl Iterator for OrderStream {
    type Item = Result<Order, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(order) = self.page.next() {
                return Some(Ok(order));
            }
            if self.is_over {
                return None;
            }
            let part = self.parts.blocking_recv();
            if let Err(error) = self.accept(part) {
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_stop_coming_are_no_end() {
        let (sender, mut orders) = channel();
        let begun = sender.blocking_send(Ok(Part::Begin(Extras::default())));
        begun.expect("room");
        drop(sender);
        assert!(matches!(orders.next(), Some(Err(Error::Stopped))));
        assert!(orders.next().is_none());
    }

    #[test]
    fn an_end_that_is_said_is_one() {
        let (sender, mut orders) = channel();
        sender.blocking_send(Ok(Part::End)).expect("room");
        drop(sender);
        assert!(orders.next().is_none());
    }

    #[test]
    fn a_page_that_cannot_be_read_ends_it() {
        for page in ["", "1 2 3", "1 2 3 4 5 6 held 00 00 00 -", "1 x"] {
            let (sender, mut orders) = channel();
            let page = sender.blocking_send(Ok(Part::Page(page.to_owned())));
            page.expect("room");
            assert!(matches!(orders.next(), Some(Err(Error::Damaged { .. }))));
            assert!(orders.next().is_none());
        }
    }
}
