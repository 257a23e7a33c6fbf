//! Memory for frames and log chunks: filled once from the front, shared without copying, used again by size.
//!
//! The module with `unsafe`: buffers are not zeroed before a socket fills them, and a chunk is read while its
//! rest is still being written. A [`BufMut`] owns a range of a block exclusively; [`Slice`]s share ranges that will
//! never change again.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

/// Smallest block the pool hands out.
const BLOCK_BYTES_MIN: usize = 256;
/// Blocks above this size go back to the allocator instead of the pool.
const POOLED_BYTES_MAX: usize = 4 << 20;
/// Steps between two powers of two: a block is at most 1/64 larger than asked for.
const STEPS: usize = 64;

/// Hands out blocks and keeps freed ones for the next taker; counts what is in use.
pub struct Pool {
    in_use: AtomicUsize,
    kept: AtomicUsize,
    allocated: AtomicUsize,
    abandoned: AtomicUsize,
    /// The least that was kept since somebody last gave back what nobody needed.
    idle: AtomicUsize,
    kept_max: usize,
    free: Vec<Mutex<Vec<Free>>>,
}

struct Free {
    at: NonNull<u8>,
}

// SAFETY: a free block is plain memory that nobody else refers to.
unsafe impl Send for Free {}

fn class_of(bytes: usize) -> (usize, usize) {
    let bytes = bytes.max(BLOCK_BYTES_MIN);
    let power = bytes.ilog2() as usize;
    let base = 1usize << power;
    let step = (base / STEPS).max(1);
    let steps = (bytes - base).div_ceil(step);
    ((power - 8) * STEPS + steps, base + steps * step)
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, 16).expect("a block's size fits an allocation")
}

impl Pool {
    /// A pool that keeps at most `kept_max` bytes of freed blocks.
    pub fn new(kept_max: usize) -> Arc<Pool> {
        let classes = class_of(POOLED_BYTES_MAX).0 + 1;
        Arc::new(Pool {
            in_use: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            allocated: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            kept_max,
            free: (0..classes).map(|_| Mutex::default()).collect(),
        })
    }

    /// Bytes of all blocks that somebody holds.
    pub fn bytes_in_use(&self) -> usize {
        self.in_use.load(Relaxed)
    }

    /// Bytes of freed blocks waiting to be used again.
    pub fn bytes_kept(&self) -> usize {
        self.kept.load(Relaxed)
    }

    /// How many blocks were asked of the allocator so far; the others had been used before.
    pub fn blocks_allocated(&self) -> usize {
        self.allocated.load(Relaxed)
    }

    /// Bytes of blocks in use that the log has dropped and only unsent answers hold (see [`Slice::abandon`]).
    pub fn bytes_abandoned(&self) -> usize {
        self.abandoned.load(Relaxed)
    }

    /// An empty buffer with room for at least `capacity` bytes.
    pub fn take(self: &Arc<Pool>, capacity: usize) -> BufMut {
        let (class, capacity) = class_of(capacity);
        let reused = self
            .free
            .get(class)
            .and_then(|list| list.lock().ok()?.pop());
        let at = match reused {
            Some(block) => {
                let left = self.kept.fetch_sub(capacity, Relaxed) - capacity;
                if left < self.idle.load(Relaxed) {
                    self.idle.fetch_min(left, Relaxed);
                }
                block.at
            }
            None => {
                self.allocated.fetch_add(1, Relaxed);
                // SAFETY: the layout is not empty.
                let at = unsafe { alloc(layout(capacity)) };
                NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout(capacity)))
            }
        };
        self.in_use.fetch_add(capacity, Relaxed);
        let block = Arc::new(Block {
            at,
            capacity,
            abandoned: AtomicBool::new(false),
            pool: self.clone(),
        });
        BufMut {
            block,
            from: 0,
            filled: 0,
            end: capacity,
        }
    }

    /// Gives every kept block back to the allocator.
    pub fn trim(&self) {
        self.release(usize::MAX);
    }

    /// Gives back as much of the kept blocks as nobody has needed since this was called last, the largest first; the
    /// bytes of them.
    pub fn give_back_idle(&self) -> usize {
        let released = self.release(self.idle.load(Relaxed));
        self.idle.store(self.kept.load(Relaxed), Relaxed);
        released
    }

    /// Gives kept blocks back until these were so many bytes, or none is left.
    fn release(&self, bytes: usize) -> usize {
        let mut released = 0;
        for (class, list) in self.free.iter().enumerate().rev() {
            let capacity = class_capacity(class);
            while released < bytes {
                let Some(block) = list.lock().ok().and_then(|mut list| list.pop()) else {
                    break;
                };
                self.kept.fetch_sub(capacity, Relaxed);
                released += capacity;
                // SAFETY: taken from the allocator with this layout, and no longer in any list.
                unsafe { dealloc(block.at.as_ptr(), layout(capacity)) };
            }
            if let Ok(mut list) = list.lock()
                && list.is_empty()
            {
                *list = Vec::new();
            }
        }
        released
    }

    fn give_back(&self, at: NonNull<u8>, capacity: usize) {
        self.in_use.fetch_sub(capacity, Relaxed);
        let (class, _) = class_of(capacity);
        if let Some(list) = self.free.get(class)
            && self.kept.load(Relaxed) + capacity <= self.kept_max
            && let Ok(mut list) = list.lock()
        {
            self.kept.fetch_add(capacity, Relaxed);
            list.push(Free { at });
            return;
        }
        // SAFETY: allocated with this layout, and the last owner is gone.
        unsafe { dealloc(at.as_ptr(), layout(capacity)) };
    }
}

fn class_capacity(class: usize) -> usize {
    let base = 1usize << (class / STEPS + 8);
    base + class % STEPS * (base / STEPS).max(1)
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.trim();
    }
}

struct Block {
    at: NonNull<u8>,
    capacity: usize,
    abandoned: AtomicBool,
    pool: Arc<Pool>,
}

// SAFETY: ranges of a block are either owned by exactly one BufMut or frozen in Slices and never written again.
unsafe impl Send for Block {}
// SAFETY: as above; shared access reads frozen ranges only.
unsafe impl Sync for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        if *self.abandoned.get_mut() {
            self.pool.abandoned.fetch_sub(self.capacity, Relaxed);
        }
        self.pool.give_back(self.at, self.capacity);
    }
}

/// An exclusively owned range of a block: bytes already filled, then room for more.
pub struct BufMut {
    block: Arc<Block>,
    from: usize,
    filled: usize,
    end: usize,
}

impl BufMut {
    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.end - self.filled
    }

    /// Size of the whole block, which counts as in use while any part of it is held.
    pub fn block_bytes(&self) -> usize {
        self.block.capacity
    }

    /// Appends `bytes`, all of which must fit.
    pub fn push(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.room(),
            "{} bytes into {}",
            bytes.len(),
            self.room()
        );
        // SAFETY: the range [filled, end) is ours alone and lies within the block.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.block.at.as_ptr().add(self.filled),
                bytes.len(),
            );
        }
        self.filled += bytes.len();
    }

    /// The unfilled rest, at most `limit` bytes of it, for a reader to fill.
    pub fn spare(&mut self, limit: usize) -> &mut [MaybeUninit<u8>] {
        let length = self.room().min(limit);
        // SAFETY: the range is ours alone; MaybeUninit makes no promise about its content.
        unsafe {
            std::slice::from_raw_parts_mut(self.block.at.as_ptr().add(self.filled).cast(), length)
        }
    }

    /// Counts `n` more bytes as filled.
    ///
    /// # Safety
    /// The first `n` bytes of [`BufMut::spare`] have been initialised.
    pub unsafe fn advance(&mut self, n: usize) {
        assert!(n <= self.room());
        self.filled += n;
    }

    /// Reads once from `source` into the spare room, at most `limit` bytes; the number of bytes read.
    pub fn poll_fill<T: tokio::io::AsyncRead + Unpin>(
        &mut self,
        cx: &mut std::task::Context<'_>,
        source: &mut T,
        limit: usize,
    ) -> std::task::Poll<std::io::Result<usize>> {
        let mut into = tokio::io::ReadBuf::uninit(self.spare(limit));
        std::task::ready!(std::pin::Pin::new(source).poll_read(cx, &mut into))?;
        let n = into.filled().len();
        // SAFETY: ReadBuf counts only initialised bytes as filled.
        unsafe { self.advance(n) };
        std::task::Poll::Ready(Ok(n))
    }

    /// Has `read` write into the next `n` bytes of the room, of which it says how many it filled; that many.
    pub fn fill(
        &mut self,
        n: usize,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>,
    ) -> std::io::Result<usize> {
        assert!(n <= self.room());
        let spare = self.spare(n);
        spare.fill(MaybeUninit::new(0));
        // SAFETY: all of it was just initialised, and it is ours alone.
        let into = unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr().cast::<u8>(), n) };
        let filled = read(into)?;
        assert!(filled <= n);
        // SAFETY: the whole range is initialised.
        unsafe { self.advance(filled) };
        Ok(filled)
    }

    /// Freezes everything filled so far into a slice; the room stays with this buffer.
    pub fn freeze_filled(&mut self) -> Slice {
        let slice = Slice {
            block: self.block.clone(),
            from: self.from,
            to: self.filled,
        };
        self.from = self.filled;
        slice
    }

    /// Splits off the first `n` filled bytes as a buffer of their own, without room.
    pub fn split_to(&mut self, n: usize) -> BufMut {
        assert!(n <= self.filled - self.from);
        let at = self.from + n;
        let front = BufMut {
            block: self.block.clone(),
            from: self.from,
            filled: at,
            end: at,
        };
        self.from = at;
        front
    }
}

impl Deref for BufMut {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: [from, filled) is initialised and ours.
        unsafe {
            std::slice::from_raw_parts(
                self.block.at.as_ptr().add(self.from),
                self.filled - self.from,
            )
        }
    }
}

impl DerefMut for BufMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: [from, filled) is initialised and ours alone.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.block.at.as_ptr().add(self.from),
                self.filled - self.from,
            )
        }
    }
}

/// A range of bytes that will never change, sharing its block with others.
#[derive(Clone)]
pub struct Slice {
    block: Arc<Block>,
    from: usize,
    to: usize,
}

impl Slice {
    /// The same bytes, narrowed to `range` within this slice.
    pub fn slice(&self, from: usize, to: usize) -> Slice {
        assert!(from <= to && to <= self.to - self.from);
        Slice {
            block: self.block.clone(),
            from: self.from + from,
            to: self.from + to,
        }
    }

    /// Grows this slice by `next` when that begins where this one ends; whether it did.
    pub fn join(&mut self, next: &Slice) -> bool {
        let adjacent = Arc::ptr_eq(&self.block, &next.block) && self.to == next.from;
        if adjacent {
            self.to = next.to;
        }
        adjacent
    }

    /// Size of the whole block that this slice keeps alive.
    pub fn block_bytes(&self) -> usize {
        self.block.capacity
    }
}

impl Slice {
    /// Says that the log has dropped these records. Their block counts as abandoned while somebody still holds it.
    pub fn abandon(&self) {
        if !self.block.abandoned.swap(true, Relaxed) {
            self.block
                .pool
                .abandoned
                .fetch_add(self.block.capacity, Relaxed);
        }
    }

    /// The block, without keeping it.
    pub fn block_ref(&self) -> BlockRef {
        BlockRef(Arc::downgrade(&self.block))
    }
}

/// A block that others may hold.
#[derive(Clone)]
pub struct BlockRef(Weak<Block>);

impl BlockRef {
    /// Whether the log has dropped it and somebody holds it all the same.
    pub fn is_abandoned(&self) -> bool {
        self.0
            .upgrade()
            .is_some_and(|block| block.abandoned.load(Relaxed))
    }

    /// Size of the block while it is held.
    pub fn bytes(&self) -> usize {
        self.0.upgrade().map_or(0, |block| block.capacity)
    }

    /// Tells blocks apart.
    pub fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }
}

impl Deref for Slice {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: frozen ranges are initialised and never written again.
        unsafe {
            std::slice::from_raw_parts(self.block.at.as_ptr().add(self.from), self.to - self.from)
        }
    }
}

impl std::fmt::Debug for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slice({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_little_and_agree_with_their_capacity() {
        for bytes in [
            1,
            255,
            256,
            257,
            4096,
            66_321,
            69_633,
            1 << 20,
            (1 << 20) + 1,
            POOLED_BYTES_MAX,
        ] {
            let (class, capacity) = class_of(bytes);
            assert!(
                capacity >= bytes && (bytes < 256 || capacity - bytes <= bytes / STEPS + 1),
                "{bytes} {capacity}"
            );
            assert_eq!(class_capacity(class), capacity);
            assert_eq!(class_of(capacity), (class, capacity));
        }
    }

    #[test]
    fn a_chunk_is_read_while_its_rest_is_filled_and_its_memory_is_used_again() {
        let pool = Pool::new(1 << 20);
        let mut chunk = pool.take(1000);
        chunk.push(b"first");
        let mut first = chunk.freeze_filled();
        chunk.push(b"second");
        let second = chunk.freeze_filled();
        assert_eq!((&*first, &*second), (&b"first"[..], &b"second"[..]));
        assert!(first.join(&second));
        assert_eq!(&*first.slice(3, 8), b"stsec");
        drop((chunk, second));
        assert_eq!(pool.bytes_in_use(), first.block_bytes());
        drop(first);
        assert_eq!(pool.bytes_in_use(), 0);
        let kept = pool.bytes_kept();
        assert!(kept >= 1000);
        let again = pool.take(1000);
        assert_eq!((pool.bytes_kept(), pool.bytes_in_use()), (0, kept));
        drop(again);
        pool.trim();
        assert_eq!(pool.bytes_kept(), 0);
    }

    /// A broker that had become idle kept up to 256 MB of freed blocks for whoever came next, for good.
    #[test]
    fn kept_blocks_that_nobody_needs_are_given_back_and_the_others_stay() {
        let pool = Pool::new(1 << 20);
        let use_at_once = |count: usize| {
            let blocks: Vec<BufMut> = (0..count).map(|_| pool.take(1024)).collect();
            drop(blocks);
        };
        use_at_once(100);
        assert_eq!(pool.give_back_idle(), 0, "just used");
        assert_eq!(pool.bytes_kept(), 100 << 10);
        // Load that needs ten of them goes on.
        for _ in 0..3 {
            use_at_once(10);
        }
        assert_eq!(pool.give_back_idle(), 90 << 10);
        let allocated = pool.blocks_allocated();
        use_at_once(10);
        assert_eq!(pool.blocks_allocated(), allocated);
        assert_eq!(pool.give_back_idle(), 0);
        assert_eq!((pool.give_back_idle(), pool.bytes_kept()), (10 << 10, 0));
    }

    #[test]
    fn parts_of_one_frame_are_patched_and_frozen_separately() {
        let pool = Pool::new(0);
        let mut frame = pool.take(64);
        frame.push(b"headAAAABBBB");
        drop(frame.split_to(4));
        let mut a = frame.split_to(4);
        a[0] = b'x';
        let a = a.freeze_filled();
        frame[3] = b'y';
        assert_eq!((&*a, &*frame), (&b"xAAA"[..], &b"BBBy"[..]));
    }
}
