//! What masters share, on its way from one to another through the cluster: locked with a key that the cluster does not know.
//!
//! Key and form are kubeadm's: AES-256-GCM, the nonce in front.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// The key, as people pass it on: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey([u8; 32]);

/// Why something stays locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was locked with another key, or was changed since.
    #[error("the key does not fit")]
    WrongKey,
    /// The system has no random numbers, or too much is to be locked.
    #[error("it cannot be locked")]
    Failed,
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

impl SealKey {
    /// A new key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<Self, SealError> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| SealError::Failed)?;
        Ok(Self(key))
    }

    /// Reads a key; none when it does not look like one.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The key in digits.
    pub fn text(&self) -> String {
        hex::encode(self.0)
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&AES_256_GCM, &self.0).map(LessSafeKey::new).map_err(|_| SealError::Failed)
    }

    /// Locks a text.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn seal(&self, text: &str) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Failed)?;
        let mut locked = text.as_bytes().to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.cipher()?.seal_in_place_append_tag(unique, Aad::empty(), &mut locked).map_err(|_| SealError::Failed)?;
        Ok([nonce.as_slice(), &locked].concat())
    }

    /// Unlocks it again.
    ///
    /// # Errors
    /// When it was locked with another key.
    pub fn open(&self, sealed: &[u8]) -> Result<String, SealError> {
        let (nonce, locked) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::WrongKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::WrongKey)?;
        let mut locked = locked.to_vec();
        let open = self.cipher()?.open_in_place(nonce, Aad::empty(), &mut locked);
        let text = open.map_err(|_| SealError::WrongKey)?;
        String::from_utf8(text.to_vec()).map_err(|_| SealError::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_unlocks() {
        let key = SealKey::generate().unwrap();
        let sealed = key.seal("the CA's key").unwrap();
        assert!(!sealed.windows(4).any(|part| part == b"CA's"));
        assert_eq!(SealKey::parse(&key.text()).unwrap().open(&sealed).unwrap(), "the CA's key");
        assert_eq!(SealKey::generate().unwrap().open(&sealed), Err(SealError::WrongKey));
        assert_eq!(key.open(sealed.split_last().unwrap().1), Err(SealError::WrongKey));
        assert_eq!(key.open(b"short"), Err(SealError::WrongKey));
        assert_ne!(sealed, key.seal("the CA's key").unwrap(), "no nonce is used twice");
        assert!(SealKey::parse("12").is_none() && format!("{key:?}").len() < 20);
    }
}
