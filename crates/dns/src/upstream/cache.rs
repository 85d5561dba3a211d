//! Answers of others, for as long as they allow and no longer than half a minute. Names of the cluster never come here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::Instant;

const ENTRIES: usize = 2048;
const LONGEST: Duration = Duration::from_secs(30);
/// Beyond its time an answer is given still, for this long, while nobody else can be asked (RFC 8767).
const STALE: Duration = Duration::from_secs(3600);
/// Seconds that such an answer may be kept by others.
const STALE_TTL: u32 = 5;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    name: Name,
    kind: RecordType,
    dnssec: bool,
}

impl Question {
    pub(super) fn of(query: &Query, dnssec: bool) -> Self {
        Self { name: query.name().to_lowercase(), kind: query.query_type(), dnssec }
    }
}

struct Entry {
    stored: Instant,
    expires: Instant,
    message: Arc<Message>,
}

#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Question, Entry>,
}

impl Cache {
    /// What is known still, older by the time that it lay here.
    pub(super) fn get(&self, question: &Question, now: Instant) -> Option<Arc<Message>> {
        let entry = self.entries.get(question).filter(|entry| now < entry.expires)?;
        let age = u32::try_from((now - entry.stored).as_secs()).unwrap_or(u32::MAX);
        if age == 0 {
            return Some(Arc::clone(&entry.message));
        }
        let mut message = Message::clone(&entry.message);
        for record in message.answers.iter_mut().chain(&mut message.authorities).chain(&mut message.additionals) {
            record.decrement_ttl(age);
        }
        Some(Arc::new(message))
    }

    /// What was known once, and not too long ago.
    pub(super) fn stale(&self, question: &Question, now: Instant) -> Option<Arc<Message>> {
        let entry = self.entries.get(question).filter(|entry| now < entry.expires + STALE)?;
        let mut message = Message::clone(&entry.message);
        for record in message.answers.iter_mut().chain(&mut message.authorities).chain(&mut message.additionals) {
            record.ttl = STALE_TTL;
        }
        Some(Arc::new(message))
    }

    pub(super) fn put(&mut self, question: Question, message: Arc<Message>, now: Instant) {
        let Some(time) = lifetime(&message) else { return };
        if self.entries.len() >= ENTRIES {
            self.entries.retain(|_, entry| now < entry.expires);
        }
        if self.entries.len() >= ENTRIES {
            // All are fresh: the oldest half makes room, so that this is rarely done.
            let mut times: Vec<Instant> = self.entries.values().map(|entry| entry.stored).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            let mut spare = ENTRIES / 2;
            self.entries.retain(|_, entry| {
                let goes = entry.stored <= median && spare > 0;
                spare -= usize::from(goes);
                !goes
            });
        }
        self.entries.insert(question, Entry { stored: now, expires: now + time, message });
    }
}

/// The shortest of its records' times; of a negative answer what its SOA record says; none if it may not be kept.
fn lifetime(message: &Message) -> Option<Duration> {
    let seconds = if message.answers.is_empty() {
        message.authorities.iter().find_map(negative)?
    } else {
        message.answers.iter().map(|record| record.ttl).min()?
    };
    let time = Duration::from_secs(seconds.into()).min(LONGEST);
    (!time.is_zero() && !message.metadata.truncation).then_some(time)
}

fn negative(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(soa.minimum.min(record.ttl)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::SOA;

    fn message(ttl: u32) -> Arc<Message> {
        let mut message = Message::query();
        let name: Name = "a.example.".parse().unwrap();
        message.add_answer(Record::from_rdata(name, ttl, RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into())));
        Arc::new(message)
    }

    fn question(name: &str) -> Question {
        Question::of(&Query::query(name.parse().unwrap(), RecordType::A), false)
    }

    #[test]
    fn kept_for_its_time_and_aging() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(question("A.example."), message(10), now);
        assert_eq!(cache.get(&question("a.EXAMPLE."), now).unwrap().answers[0].ttl, 10);
        assert_eq!(cache.get(&question("a.example."), now + Duration::from_secs(4)).unwrap().answers[0].ttl, 6);
        assert!(cache.get(&question("a.example."), now + Duration::from_secs(10)).is_none());
    }

    #[test]
    fn never_kept_long() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(question("a.example."), message(86400), now);
        assert!(cache.get(&question("a.example."), now + LONGEST).is_none());
        cache.put(question("b.example."), message(0), now);
        assert!(cache.get(&question("b.example."), now).is_none());
    }

    #[test]
    fn negative_answers_as_their_zone_says() {
        let mut message = Message::query();
        assert_eq!(lifetime(&message), None);
        let name: Name = "example.".parse().unwrap();
        let soa = SOA::new(name.clone(), name.clone(), 1, 1, 1, 1, 7);
        message.add_authority(Record::from_rdata(name, 9, RData::SOA(soa)));
        assert_eq!(lifetime(&message), Some(Duration::from_secs(7)));
    }

    #[test]
    fn given_beyond_its_time_when_nobody_can_be_asked() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(question("a.example."), message(10), now);
        let later = now + Duration::from_secs(600);
        assert!(cache.get(&question("a.example."), later).is_none());
        assert_eq!(cache.stale(&question("a.example."), later).unwrap().answers[0].ttl, STALE_TTL);
        assert!(cache.stale(&question("a.example."), later + STALE).is_none());
    }

    #[test]
    fn bounded() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..ENTRIES + 10 {
            cache.put(question(&format!("n{number}.example.")), message(10), now);
            assert!(cache.entries.len() <= ENTRIES);
        }
        assert!(cache.get(&question(&format!("n{}.example.", ENTRIES + 9)), now).is_some(), "the newest has room");
    }
}
