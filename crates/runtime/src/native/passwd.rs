//! Users and groups by name, from an image's own `/etc/passwd` and `/etc/group`. Pure.

/// Who a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Groups that the image gives the user.
    pub groups: Vec<u32>,
    pub home: Option<String>,
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { name, uid, gid, home: fields.nth(1).unwrap_or("/") })
    })
}

/// Name, id and members of each group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

/// Works out `user[:group]`, each by name or number. A number needs no entry; a name does.
pub(crate) fn resolve(user: &str, passwd: &str, group: &str) -> Result<Identity, String> {
    let (name, group_name) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let number = name.parse::<u32>().ok();
    let found = users(passwd)
        .find(|user| if name.is_empty() { user.uid == 0 } else { user.name == name })
        .or_else(|| users(passwd).find(|user| Some(user.uid) == number));
    let mut identity = match (&found, number) {
        (Some(user), _) => {
            Identity { uid: user.uid, gid: user.gid, home: Some(user.home.to_owned()), ..Identity::default() }
        }
        (None, Some(uid)) => Identity { uid, ..Identity::default() },
        (None, None) if name.is_empty() => Identity::default(),
        (None, None) => return Err(format!("unable to find user {name}: no matching entries in passwd file")),
    };
    match group_name {
        Some(wanted) => identity.gid = resolve_group(wanted, group)?,
        None => {
            let name = found.as_ref().map(|user| user.name);
            let member = |members: &str| name.is_some_and(|name| members.split(',').any(|member| member == name));
            identity.groups = groups(group).filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid).collect();
        }
    }
    Ok(identity)
}

fn resolve_group(wanted: &str, group: &str) -> Result<u32, String> {
    let found = groups(group).find(|(name, _, _)| *name == wanted).map(|(_, gid, _)| gid);
    let gid = found.or_else(|| wanted.parse().ok());
    gid.ok_or_else(|| format!("unable to find group {wanted}: no matching entries in group file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/var/www:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\ntty:x:5:web,other\n";

    fn ids(user: &str) -> (u32, u32, Vec<u32>) {
        let identity = resolve(user, PASSWD, GROUP).unwrap();
        (identity.uid, identity.gid, identity.groups)
    }

    #[test]
    fn users_by_name_and_number() {
        assert_eq!(ids(""), (0, 0, vec![]));
        assert_eq!(ids("web"), (33, 33, vec![5]));
        assert_eq!(ids("33"), (33, 33, vec![5]));
        assert_eq!(ids("1000"), (1000, 0, vec![]));
        assert_eq!(ids("web:tty"), (33, 5, vec![]));
        assert_eq!(ids("1000:1001"), (1000, 1001, vec![]));
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(resolve("nobody", PASSWD, GROUP).is_err());
        assert!(resolve("web:nobody", PASSWD, GROUP).is_err());
    }
}
