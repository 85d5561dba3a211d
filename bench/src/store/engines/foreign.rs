//! Engines of others, as their documentation says to use them for durable writes.

use std::path::Path;

use redb::{ReadableDatabase, ReadableTable};

use super::super::load::Put;
use super::Engine;
use crate::failure::Failure;

const TABLE: redb::TableDefinition<&str, &[u8]> = redb::TableDefinition::new("objects");

fn words(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

/// A copy-on-write B-tree.
pub(super) struct Redb(redb::Database);

impl Redb {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self(redb::Database::create(path.join("objects.redb")).map_err(words)?))
    }
}

impl Engine for Redb {
    fn commit(&mut self, puts: Vec<Put>) -> Result<(), Failure> {
        let transaction = self.0.begin_write().map_err(words)?;
        {
            let mut table = transaction.open_table(TABLE).map_err(words)?;
            for (key, value) in &puts {
                table.insert(key.as_str(), value.as_ref()).map_err(words)?;
            }
        }
        transaction.commit().map_err(words)
    }

    fn read_all(&self) -> Result<usize, Failure> {
        let transaction = self.0.begin_read().map_err(words)?;
        let table = transaction.open_table(TABLE).map_err(words)?;
        let mut count = 0;
        for row in table.iter().map_err(words)? {
            count += usize::from(!row.map_err(words)?.1.value().is_empty());
        }
        Ok(count)
    }
}

/// A log-structured merge tree.
pub(super) struct Fjall {
    database: fjall::Database,
    objects: fjall::Keyspace,
}

impl Fjall {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let database = fjall::Database::builder(path).open().map_err(words)?;
        let objects = database.keyspace("objects", fjall::KeyspaceCreateOptions::default).map_err(words)?;
        Ok(Self { database, objects })
    }
}

impl Engine for Fjall {
    fn commit(&mut self, puts: Vec<Put>) -> Result<(), Failure> {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for (key, value) in puts {
            batch.insert(&self.objects, key, value.as_ref());
        }
        batch.commit().map_err(words)
    }

    fn read_all(&self) -> Result<usize, Failure> {
        let mut count = 0;
        for guard in self.objects.iter() {
            count += usize::from(!guard.value().map_err(words)?.is_empty());
        }
        Ok(count)
    }
}

/// A B-tree with a write-ahead log.
pub(super) struct Sqlite(rusqlite::Connection);

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let connection = rusqlite::Connection::open(path.join("objects.sqlite")).map_err(words)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
            )
            .map_err(words)?;
        Ok(Self(connection))
    }
}

impl Engine for Sqlite {
    fn commit(&mut self, puts: Vec<Put>) -> Result<(), Failure> {
        let transaction = self.0.transaction().map_err(words)?;
        {
            let mut put =
                transaction.prepare_cached("INSERT OR REPLACE INTO objects VALUES (?1, ?2)").map_err(words)?;
            for (key, value) in &puts {
                put.execute((key, value.as_ref())).map_err(words)?;
            }
        }
        transaction.commit().map_err(words)
    }

    fn read_all(&self) -> Result<usize, Failure> {
        let mut query = self.0.prepare("SELECT value FROM objects").map_err(words)?;
        let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(words)?;
        let mut count = 0;
        for row in rows {
            count += usize::from(!row.map_err(words)?.is_empty());
        }
        Ok(count)
    }
}
