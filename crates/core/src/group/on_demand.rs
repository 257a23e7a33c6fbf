//! A part of a group that most groups do without: it takes one pointer until something is put into it.

use std::ops::{Deref, DerefMut};

/// What can be empty, and is the same for all then.
pub(super) trait Emptiable: Default + 'static {
    fn empty() -> &'static Self;
    fn is_vacant(&self) -> bool;
}

/// See above.
#[derive(Debug, Default)]
pub(super) struct OnDemand<T>(Option<Box<T>>);

impl<T: Emptiable> OnDemand<T> {
    /// Gives back what it lies in once nothing is left in it.
    pub(super) fn tidy(&mut self) {
        if self.0.as_ref().is_some_and(|part| part.is_vacant()) {
            self.0 = None;
        }
    }
}

impl<T: Emptiable> Deref for OnDemand<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(part) => part,
            None => T::empty(),
        }
    }
}

impl<T: Emptiable> DerefMut for OnDemand<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}
