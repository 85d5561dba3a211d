//! Members of etcd die, hang and come back under a stream of writes through two servers; afterwards everything that was
//! acknowledged is there, and every watcher saw every change once and in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage::{Event, Revision, Store, Watch, WriteError, etcd};
use tokio::sync::watch;

use crate::cases::{SOON, changes, delete, put};

const ROUNDS: usize = 10;
const WRITERS: usize = 6;
const KEYS: u64 = 4;

/// An acknowledged change.
type Acknowledged = (Revision, String, Option<String>);

/// What the writers have come to.
#[derive(Clone, Copy, Default)]
struct Count {
    acknowledged: usize,
    refused: usize,
}

/// Numbers that look random and come again from the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

async fn open(endpoints: &[String], first: usize) -> Arc<dyn Store> {
    let mut endpoints = endpoints.to_vec();
    endpoints.rotate_left(first);
    let options = etcd::Options { endpoints, patience: Duration::from_secs(60), ..Default::default() };
    Arc::new(etcd::Etcd::open(&options).await.unwrap())
}

/// Creates, updates and deletes keys of its own until it is told to stop.
async fn write(
    store: Arc<dyn Store>,
    own: usize,
    seed: u64,
    count: watch::Sender<Count>,
    stop: watch::Receiver<bool>,
) -> Vec<Acknowledged> {
    let mut dice = Dice(seed + own as u64);
    let mut known: HashMap<String, Revision> = HashMap::new();
    let mut done = Vec::new();
    let mut number = 0;
    while !*stop.borrow() {
        let key = format!("/registry/storm/{own}-{}", dice.below(KEYS));
        number += 1;
        let value = format!("{own}.{number}");
        let expected = known.get(&key).copied();
        let removes = expected.is_some() && dice.below(4) == 0;
        let change = if removes { delete(&key, expected) } else { put(&key, &value, expected) };
        match store.write(change).await {
            Ok((_, revision)) => {
                if removes {
                    known.remove(&key)
                } else {
                    known.insert(key.clone(), revision)
                };
                done.push((revision, key, (!removes).then_some(value)));
                count.send_modify(|c| c.acknowledged += 1);
            }
            // An earlier write of ours that was not answered had its effect after all.
            Err(WriteError::Conflict(Some(present))) => drop(known.insert(key, present.modified)),
            Err(WriteError::Conflict(None)) => drop(known.remove(&key)),
            Err(WriteError::Stopped(_) | WriteError::Overloaded) => count.send_modify(|c| c.refused += 1),
        }
    }
    done
}

/// Waits for the writers to come so far.
async fn until(count: &watch::Sender<Count>, what: &str, reached: impl Fn(&Count) -> bool) {
    let mut counts = count.subscribe();
    let waited = tokio::time::timeout(SOON * 2, counts.wait_for(|c| reached(c))).await;
    assert!(waited.is_ok(), "{what} did not come");
}

async fn storm(server: &mut tests::Etcd, count: &watch::Sender<Count>, dice: &mut Dice) {
    for round in 0..ROUNDS {
        let start = *count.borrow();
        let member = dice.below(3) as usize;
        let more = |c: &Count| c.acknowledged >= start.acknowledged + 20;
        match dice.below(5) {
            0 | 1 => {
                server.kill(member);
                until(count, &format!("round {round}: progress with a dead member"), more).await;
                server.run(member);
            }
            2 | 3 => {
                server.pause(member);
                until(count, &format!("round {round}: progress with a hanging member"), more).await;
                server.resume(member);
            }
            _ => {
                let other = (member + 1) % 3;
                server.pause(member);
                server.kill(other);
                let refused = |c: &Count| c.refused > start.refused;
                until(count, &format!("round {round}: a refusal without a majority"), refused).await;
                server.run(other);
                server.resume(member);
            }
        }
        let now = *count.borrow();
        let more = |c: &Count| c.acknowledged >= now.acknowledged + 20;
        until(count, &format!("round {round}: progress afterwards"), more).await;
    }
}

/// Everything up to a revision that a watcher has seen.
async fn seen(watch: &mut Watch, last: Revision) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|e| e.revision < last) {
        events.extend(changes(watch).await);
    }
    events
}

fn text(entry: &Option<Arc<storage::Entry>>) -> Option<String> {
    entry.as_ref().map(|e| String::from_utf8_lossy(&e.value).into_owned())
}

/// Each event follows on the one before it, of all keys and of its own.
fn unbroken(events: &[Event]) -> HashMap<String, (Revision, Option<String>)> {
    let mut state: HashMap<String, (Revision, Option<String>)> = HashMap::new();
    assert!(events.windows(2).all(|w| w[0].revision < w[1].revision), "once, and in order");
    for event in events {
        let key = event.key().unwrap().as_str().to_owned();
        let before = state.get(&key).and_then(|(_, value)| value.clone());
        assert_eq!(text(&event.before), before, "nothing of {key} was missed before {}", event.revision);
        state.insert(key, (event.revision, text(&event.now)));
    }
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_faults_loses_nothing_and_shows_every_change_once_in_order() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::from(d.subsec_nanos()));
    eprintln!("seed {seed}");
    let mut server = tests::Etcd::start(3);
    let endpoints = server.endpoints();
    let stores = [open(&endpoints, 0).await, open(&endpoints, 1).await];
    let mut watches = Vec::new();
    for store in &stores {
        watches.push(store.watch("/registry/storm/", store.current().await.unwrap()).unwrap());
    }
    let (count, (stop, stopped)) = (watch::Sender::new(Count::default()), watch::channel(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|own| tokio::spawn(write(stores[own % 2].clone(), own, seed, count.clone(), stopped.clone())))
        .collect();
    storm(&mut server, &count, &mut Dice(seed)).await;
    stop.send_replace(true);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    // The last word: when it has come, everything before it has.
    let last = loop {
        match stores[0].write(put("/registry/storm/end", "", None)).await {
            Ok((_, revision)) => break revision,
            Err(WriteError::Conflict(Some(present))) => break present.modified,
            Err(_) => {}
        }
    };
    let [one, other] = [seen(&mut watches[0], last).await, seen(&mut watches[1], last).await];
    let facts = |events: &[Event]| -> HashMap<Revision, (String, Option<String>)> {
        events.iter().map(|e| (e.revision, (e.key().unwrap().as_str().to_owned(), text(&e.now)))).collect()
    };
    let known = facts(&one);
    assert_eq!(known, facts(&other), "both servers show the same");
    for (revision, key, value) in &acknowledged {
        assert_eq!(known.get(revision), Some(&(key.clone(), value.clone())), "acknowledged at {revision}");
    }
    for (key, (_, value)) in unbroken(&one) {
        let read = loop {
            if let Ok(read) = stores[1].get(&key).await {
                break read;
            }
        };
        assert_eq!(text(&read), value, "{key}");
    }
    unbroken(&other);
    assert!(acknowledged.len() >= ROUNDS * 20);
}
