//! Storage with small, stable keys, and lists that run through it.
//!
//! A key stays valid until its value is removed, so tables refer to each other by four bytes. A
//! list's links lie in the values themselves: whatever is in a list leaves it in constant time.

use std::ops::{Index, IndexMut};

/// No key.
pub(super) const NIL: u32 = u32::MAX;

/// What an empty slab may keep of its memory, in entries.
const KEPT: usize = 1024;

/// Values by key.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    /// The first vacant entry; vacant ones form a chain.
    free: u32,
    len: usize,
}

#[derive(Debug)]
enum Entry<T> {
    Taken(T),
    Vacant(u32),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: NIL, len: 0 }
    }
}

impl<T> Slab<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if self.free == NIL {
            let key = u32::try_from(self.entries.len()).expect("memory ends before the keys do");
            assert_ne!(key, NIL, "memory ends before the keys do");
            self.entries.push(Entry::Taken(value));
            return key;
        }
        let key = self.free;
        let Entry::Vacant(next) = self.entries[key as usize] else {
            unreachable!("the chain runs through vacant entries")
        };
        self.free = next;
        self.entries[key as usize] = Entry::Taken(value);
        key
    }

    /// Takes a value out. When it was the last, the memory of a flood is given back.
    pub(super) fn remove(&mut self, key: u32) -> T {
        let entry = std::mem::replace(&mut self.entries[key as usize], Entry::Vacant(self.free));
        let Entry::Taken(value) = entry else { panic!("{key} is vacant") };
        self.free = key;
        self.len -= 1;
        if self.len == 0 && self.entries.capacity() > KEPT {
            (self.entries, self.free) = (Vec::new(), NIL);
        }
        value
    }

    pub(super) fn contains(&self, key: u32) -> bool {
        matches!(self.entries.get(key as usize), Some(Entry::Taken(_)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.entries).filter_map(|(key, entry)| match entry {
            Entry::Taken(value) => Some((key, value)),
            Entry::Vacant(_) => None,
        })
    }

    /// The keys that are taken now.
    pub(super) fn keys(&self) -> Vec<u32> {
        self.iter().map(|(key, _)| key).collect()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, key: u32) -> &T {
        match &self.entries[key as usize] {
            Entry::Taken(value) => value,
            Entry::Vacant(_) => panic!("{key} is vacant"),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, key: u32) -> &mut T {
        match &mut self.entries[key as usize] {
            Entry::Taken(value) => value,
            Entry::Vacant(_) => panic!("{key} is vacant"),
        }
    }
}

/// A value's neighbours in the list that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    pub(super) const NONE: Self = Self { prev: NIL, next: NIL };
}

/// First in, first out, or out of the middle. The values are in a [`Slab`], which every method is
/// given together with where in a value this list's links lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL };

    pub(super) fn is_empty(self) -> bool {
        self.head == NIL
    }

    /// The key that has been in the list the longest.
    pub(super) fn front(self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    /// The key that came last.
    pub(super) fn back(self) -> Option<u32> {
        (self.tail != NIL).then_some(self.tail)
    }

    pub(super) fn push_back<T>(
        &mut self,
        slab: &mut Slab<T>,
        key: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        *links(&mut slab[key]) = Links { prev: self.tail, next: NIL };
        match self.tail {
            NIL => self.head = key,
            tail => links(&mut slab[tail]).next = key,
        }
        self.tail = key;
    }

    /// Takes `key` out, which must be in this list.
    pub(super) fn remove<T>(
        &mut self,
        slab: &mut Slab<T>,
        key: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        let Links { prev, next } = std::mem::replace(links(&mut slab[key]), Links::NONE);
        match prev {
            NIL => self.head = next,
            prev => links(&mut slab[prev]).next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => links(&mut slab[next]).prev = prev,
        }
    }

    /// The keys from front to back.
    pub(super) fn iter<T>(
        self,
        slab: &Slab<T>,
        links: impl Fn(&T) -> Links,
    ) -> impl Iterator<Item = u32> {
        std::iter::successors(self.front(), move |key| {
            let next = links(&slab[*key]).next;
            (next != NIL).then_some(next)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_used_again_and_a_flood_leaves_no_memory_behind() {
        let mut slab = Slab::default();
        let keys: Vec<u32> = (0..10_000).map(|it| slab.insert(it)).collect();
        assert_eq!(slab.remove(keys[5]), 5);
        assert_eq!(slab.insert(50), keys[5]);
        assert_eq!((slab.len(), slab[keys[5]]), (10_000, 50));
        for key in keys {
            slab.remove(key);
        }
        assert!(slab.is_empty());
        assert_eq!(slab.entries.capacity(), 0);
    }

    #[test]
    fn a_list_keeps_its_order_whatever_leaves_it() {
        let mut slab = Slab::default();
        let mut list = List::EMPTY;
        let keys: Vec<u32> = (0..5)
            .map(|_| {
                let key = slab.insert(Links::NONE);
                list.push_back(&mut slab, key, |it| it);
                key
            })
            .collect();
        for (gone, rest) in [(2, vec![0, 1, 3, 4]), (0, vec![1, 3, 4]), (4, vec![1, 3])] {
            list.remove(&mut slab, keys[gone], |it| it);
            assert_eq!(list.iter(&slab, |it| *it).collect::<Vec<_>>(), rest);
        }
        assert_eq!((list.front(), list.back()), (Some(1), Some(3)));
    }
}
