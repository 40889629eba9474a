//! The file `handling`: the messages that this process has in hand, each in a place of eight bytes.

use std::{fs::File, io, num::NonZeroU64, os::unix::fs::FileExt as _};

/// Tells one message from others, in the next process, too.
pub(super) type Fingerprint = NonZeroU64;

const LENGTH: usize = size_of::<u64>();

/// The open file. As long as there were messages in hand at a time; a place that is free is zero.
#[derive(Debug)]
pub(super) struct Hand {
    file: File,
    places: u32,
    free: Vec<u32>,
}

impl Hand {
    /// Over a file that is empty.
    pub(super) fn new(file: File) -> Self {
        Self { file, places: 0, free: Vec::new() }
    }

    /// Those in a file that another process has left; half a place at its end is none.
    pub(super) fn left(bytes: &[u8]) -> impl Iterator<Item = Fingerprint> {
        let places = bytes.as_chunks::<LENGTH>().0;
        places.iter().filter_map(|place| Fingerprint::new(u64::from_ne_bytes(*place)))
    }

    /// Puts a message in a place. It is in the file when the call returns, for whoever reads it when this process is gone.
    pub(super) fn begin(&mut self, fingerprint: Fingerprint) -> io::Result<u32> {
        let place = self.free.pop().unwrap_or(self.places);
        self.set(place, fingerprint.get())?;
        self.places = self.places.max(place + 1);
        Ok(place)
    }

    /// Frees its place.
    pub(super) fn end(&mut self, place: u32) -> io::Result<()> {
        self.set(place, 0)?;
        self.free.push(place);
        Ok(())
    }

    fn set(&self, place: u32, value: u64) -> io::Result<()> {
        self.file.write_all_at(&value.to_ne_bytes(), u64::from(place) * LENGTH as u64)
    }
}
