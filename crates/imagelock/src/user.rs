//! From the image's user and the pod's security context to uid, gid and groups, as the
//! kubelet and containerd work them out.
//!
//! Kubelet (`kuberuntime/security_context.go`, `getImageUser`): the container's `runAsUser`,
//! else the part of the image's `USER` before the colon, a number as uid and anything else as
//! a name; none is uid 0. The image's group is dropped. containerd (`oci.WithUser`,
//! `oci.WithAdditionalGIDs`, CRI `mergeGids`): the primary group is the one asked for, else the
//! passwd entry's, else 0; supplementary groups are those of `/etc/group` which list the user,
//! except one that bears the user's own name; the primary group is always among them; the list
//! is sorted.

use std::collections::BTreeSet;

/// One line of `/etc/passwd`, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswdEntry {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

/// One line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEntry {
    /// Group name.
    pub name: String,
    /// Group id.
    pub gid: u32,
    /// Login names of its members.
    pub members: Vec<String>,
}

/// `/etc/passwd` and `/etc/group` of an image. A file the image does not have is empty here:
/// both lead containerd to the same result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserDatabase {
    /// Lines of `/etc/passwd`, in order.
    pub passwd: Vec<PasswdEntry>,
    /// Lines of `/etc/group`, in order.
    pub group: Vec<GroupEntry>,
}

impl UserDatabase {
    /// Reads the two files with the tolerance of the parser containerd uses
    /// (`moby/sys/user`): blank lines are skipped, missing fields are empty, an id that is no
    /// number is 0. A line with an id outside 0 to 2^32-1 is left out, and so is one whose name
    /// is not UTF-8: neither can be asked for by a pod.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let passwd = lines(passwd)
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?.to_owned();
                let (uid, gid) = (id(fields.nth(1))?, id(fields.next())?);
                Some(PasswdEntry { name, uid, gid })
            })
            .collect();
        let group = lines(group)
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?.to_owned();
                let gid = id(fields.nth(1))?;
                let members = fields.next().unwrap_or("");
                let members = members
                    .split(',')
                    .filter(|m| !m.is_empty())
                    .map(str::to_owned)
                    .collect();
                Some(GroupEntry { name, gid, members })
            })
            .collect();
        Self { passwd, group }
    }

    fn by_uid(&self, uid: u32) -> Option<&PasswdEntry> {
        self.passwd.iter().find(|entry| entry.uid == uid)
    }

    fn by_name(&self, name: &str) -> Option<&PasswdEntry> {
        self.passwd.iter().find(|entry| entry.name == name)
    }

    /// Groups listing this user, without the group of the same name (containerd #11937).
    fn supplementary(&self, name: &str) -> impl Iterator<Item = u32> {
        self.group
            .iter()
            .filter(move |g| g.name != name && g.members.iter().any(|member| member == name))
            .map(|g| g.gid)
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes
        .split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

fn id(field: Option<&str>) -> Option<u32> {
    match field.unwrap_or("").parse::<i64>() {
        Ok(number) => u32::try_from(number).ok(),
        Err(_) => Some(0),
    }
}

/// What the pod says about users: container values over pod values, already merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRequest {
    /// `securityContext.runAsUser`.
    pub run_as_user: Option<u32>,
    /// `securityContext.runAsGroup`.
    pub run_as_group: Option<u32>,
    /// `securityContext.supplementalGroups`, and `fsGroup` if there is one.
    pub supplemental_groups: Vec<u32>,
    /// `supplementalGroupsPolicy: Strict`: groups of the image are left out.
    pub strict_groups: bool,
}

/// The identity a process starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All additional group ids, ascending, the primary one included.
    pub groups: Vec<u32>,
    /// The login name of `uid`, where the image has one.
    pub username: Option<String>,
}

/// Why an identity cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// passwd and group were not read when the image was locked.
    #[error("the lock does not hold the image's passwd and group files")]
    NeedsDatabase,
    /// The image's `USER` names a user its passwd file does not have; the container would not
    /// start.
    #[error("the image has no user {name:?}")]
    UnknownUser {
        /// The name in the image's configuration.
        name: String,
    },
    /// The image's `USER` names a group its group file does not have.
    #[error("the image has no group {name:?}")]
    UnknownGroup {
        /// The name in the image's configuration.
        name: String,
    },
    /// A numeric id outside 0 to 2^32-1.
    #[error("{text:?} is no user or group id")]
    IdOutOfRange {
        /// The text in the image's configuration.
        text: String,
    },
}

/// The identity of an application or init container.
///
/// `image_user` is the image configuration's `User`. Without `database` an answer is given
/// only where it does not depend on the image's files.
pub fn resolve(
    image_user: &str,
    request: &UserRequest,
    database: Option<&UserDatabase>,
) -> Result<ResolvedUser, UserError> {
    let user = match request.run_as_user {
        Some(uid) => User::Id(uid),
        None => kubelet_image_user(image_user)?,
    };
    let (uid, name, own_gid) = find(&user, database)?;
    let gid = match (request.run_as_group, own_gid) {
        (Some(gid), _) => gid,
        (None, Lookup::Known(gid)) => gid.unwrap_or(0),
        (None, Lookup::Unread) => return Err(UserError::NeedsDatabase),
    };
    let mut groups: BTreeSet<u32> = request.supplemental_groups.iter().copied().collect();
    groups.insert(gid);
    if !request.strict_groups {
        let database = database.ok_or(UserError::NeedsDatabase)?;
        if let Some(name) = &name {
            groups.extend(database.supplementary(name));
        }
    }
    Ok(ResolvedUser {
        uid,
        gid,
        groups: groups.into_iter().collect(),
        username: name,
    })
}

/// The identity containerd gives for the image's `USER` by itself, group included, as for the
/// sandbox (pause) container.
pub fn resolve_image_user(
    image_user: &str,
    database: Option<&UserDatabase>,
) -> Result<ResolvedUser, UserError> {
    let (user, group) = match image_user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (image_user, None),
    };
    let user = if user.is_empty() {
        User::Id(0)
    } else {
        parse_user(user)?
    };
    let (uid, name, own_gid) = find(&user, database)?;
    let gid = match group {
        Some(group) if !group.is_empty() => group_id(group, database)?,
        _ => match own_gid {
            Lookup::Known(gid) => gid.unwrap_or(0),
            Lookup::Unread => return Err(UserError::NeedsDatabase),
        },
    };
    let mut groups = BTreeSet::from([gid]);
    let database = database.ok_or(UserError::NeedsDatabase)?;
    if let Some(name) = &name {
        groups.extend(database.supplementary(name));
    }
    Ok(ResolvedUser {
        uid,
        gid,
        groups: groups.into_iter().collect(),
        username: name,
    })
}

/// Whether locking should read passwd and group: a name must be resolved, or a group, or the
/// configuration names no user at all. Only `uid:gid`, both numbers, says all by itself.
pub fn needs_database(image_user: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    !image_user
        .split_once(':')
        .is_some_and(|(user, group)| number(user) && number(group))
}

enum User<'a> {
    Id(u32),
    Name(&'a str),
}

enum Lookup {
    /// The passwd entry's group; `None` if there is no entry.
    Known(Option<u32>),
    Unread,
}

fn kubelet_image_user(image_user: &str) -> Result<User<'_>, UserError> {
    match image_user.split(':').next() {
        None | Some("") => Ok(User::Id(0)),
        Some(user) => parse_user(user),
    }
}

fn parse_user(text: &str) -> Result<User<'_>, UserError> {
    match text.parse::<i64>() {
        Ok(number) => match u32::try_from(number) {
            Ok(uid) => Ok(User::Id(uid)),
            Err(_) => Err(UserError::IdOutOfRange {
                text: text.to_owned(),
            }),
        },
        Err(_) => Ok(User::Name(text)),
    }
}

fn find(
    user: &User<'_>,
    database: Option<&UserDatabase>,
) -> Result<(u32, Option<String>, Lookup), UserError> {
    match (user, database) {
        (User::Id(uid), None) => Ok((*uid, None, Lookup::Unread)),
        (User::Id(uid), Some(database)) => {
            let entry = database.by_uid(*uid);
            Ok((
                *uid,
                entry.map(|e| e.name.clone()),
                Lookup::Known(entry.map(|e| e.gid)),
            ))
        }
        (User::Name(_), None) => Err(UserError::NeedsDatabase),
        (User::Name(name), Some(database)) => match database.by_name(name) {
            Some(e) => Ok((e.uid, Some(e.name.clone()), Lookup::Known(Some(e.gid)))),
            None => Err(UserError::UnknownUser {
                name: (*name).to_owned(),
            }),
        },
    }
}

fn group_id(text: &str, database: Option<&UserDatabase>) -> Result<u32, UserError> {
    if let Ok(number) = text.parse::<i64>() {
        return u32::try_from(number).map_err(|_| UserError::IdOutOfRange {
            text: text.to_owned(),
        });
    }
    let database = database.ok_or(UserError::NeedsDatabase)?;
    match database.group.iter().find(|g| g.name == text) {
        Some(group) => Ok(group.gid),
        None => Err(UserError::UnknownGroup {
            name: text.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\n  daemon:x:1:1:d:/:/bin/sh\n\
        app:x:1000:1001:App:/home/app:/bin/sh\nodd:x:abc:7\nshort\nbig:x:4294967296:1\n\
        neg:x:-1:1\n\xff\xfe:x:5:5\napp2:x:1000:2000::/:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\napp:x:1001:app\nwheel:x:10:root,app\nlogs:x:44:app,daemon\n\
        audio:x:5:nobody\n";

    fn database() -> UserDatabase {
        UserDatabase::parse(PASSWD, GROUP)
    }

    fn ask(user: &str, request: &UserRequest) -> Result<ResolvedUser, UserError> {
        resolve(user, request, Some(&database()))
    }

    fn ids(user: &ResolvedUser) -> (u32, u32, &[u32]) {
        (user.uid, user.gid, &user.groups)
    }

    #[test]
    fn reads_the_files_with_containerds_tolerance() {
        let names: Vec<_> = database()
            .passwd
            .into_iter()
            .map(|e| (e.name, e.uid, e.gid))
            .collect();
        let expected = [
            ("root", 0, 0),
            ("daemon", 1, 1),
            ("app", 1000, 1001),
            ("odd", 0, 7),
            ("short", 0, 0),
            ("app2", 1000, 2000),
        ];
        assert_eq!(names, expected.map(|(n, u, g)| (n.to_owned(), u, g)));
        assert_eq!(database().group[2].members, ["root", "app"]);
    }

    #[test]
    fn every_form_of_the_images_user() {
        let none = UserRequest::default();
        assert_eq!(ids(&ask("", &none).unwrap()), (0, 0, &[0, 10][..]));
        assert_eq!(
            ids(&ask("app", &none).unwrap()),
            (1000, 1001, &[10, 44, 1001][..])
        );
        assert_eq!(
            ids(&ask("1000", &none).unwrap()),
            (1000, 1001, &[10, 44, 1001][..])
        );
        assert_eq!(ids(&ask("4242", &none).unwrap()), (4242, 0, &[0][..]));
        // The kubelet drops the image's group.
        assert_eq!(
            ids(&ask("app:wheel", &none).unwrap()),
            (1000, 1001, &[10, 44, 1001][..])
        );
        assert_eq!(
            ids(&ask("1000:9", &none).unwrap()),
            (1000, 1001, &[10, 44, 1001][..])
        );
        assert_eq!(ids(&ask(":9", &none).unwrap()), (0, 0, &[0, 10][..]));
        let unknown = UserError::UnknownUser {
            name: "ghost".into(),
        };
        assert_eq!(ask("ghost", &none).unwrap_err(), unknown);
        let range = UserError::IdOutOfRange {
            text: "4294967296".into(),
        };
        assert_eq!(ask("4294967296", &none).unwrap_err(), range);
        assert_eq!(ask("app", &none).unwrap().username.as_deref(), Some("app"));
    }

    #[test]
    fn the_pod_overrides() {
        let request = UserRequest {
            run_as_user: Some(1),
            run_as_group: Some(3000),
            supplemental_groups: vec![9, 5],
            strict_groups: false,
        };
        assert_eq!(
            ids(&ask("ghost", &request).unwrap()),
            (1, 3000, &[5, 9, 44, 3000][..])
        );
        let strict = UserRequest {
            strict_groups: true,
            ..request
        };
        assert_eq!(
            ids(&ask("app", &strict).unwrap()),
            (1, 3000, &[5, 9, 3000][..])
        );
        let group_only = UserRequest {
            run_as_group: Some(7),
            ..UserRequest::default()
        };
        assert_eq!(
            ids(&ask("app", &group_only).unwrap()),
            (1000, 7, &[7, 10, 44][..])
        );
    }

    #[test]
    fn the_sandbox_keeps_the_images_group() {
        let ask = |user| resolve_image_user(user, Some(&database()));
        assert_eq!(
            ids(&ask("65535:65535").unwrap()),
            (65535, 65535, &[65535][..])
        );
        assert_eq!(ids(&ask("app:wheel").unwrap()), (1000, 10, &[10, 44][..]));
        assert_eq!(ids(&ask("").unwrap()), (0, 0, &[0, 10][..]));
        let unknown = UserError::UnknownGroup {
            name: "ghosts".into(),
        };
        assert_eq!(ask("app:ghosts").unwrap_err(), unknown);
    }

    #[test]
    fn without_the_files_only_what_does_not_depend_on_them() {
        let full = UserRequest {
            run_as_user: Some(7),
            run_as_group: Some(8),
            supplemental_groups: vec![9],
            strict_groups: true,
        };
        assert_eq!(
            ids(&resolve("app", &full, None).unwrap()),
            (7, 8, &[8, 9][..])
        );
        for request in [
            UserRequest {
                strict_groups: false,
                ..full.clone()
            },
            UserRequest {
                run_as_group: None,
                ..full.clone()
            },
            UserRequest {
                run_as_user: None,
                ..full
            },
        ] {
            assert_eq!(
                resolve("app", &request, None).unwrap_err(),
                UserError::NeedsDatabase
            );
        }
        for user in ["", "app", "7", "app:7", "7:app", ":"] {
            assert!(needs_database(user), "{user}");
        }
        assert!(!needs_database("65532:65532"));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(passwd: Vec<u8>, group: Vec<u8>, user in "\\PC{0,12}") {
            let database = UserDatabase::parse(&passwd, &group);
            let _ = resolve(&user, &UserRequest::default(), Some(&database));
            let _ = resolve_image_user(&user, Some(&database));
        }

        #[test]
        fn lines_written_are_lines_read(
            users in prop::collection::vec(("[a-z_][a-z0-9_-]{0,8}", any::<u32>(), any::<u32>()), 0..8),
            members in prop::collection::vec("[a-z]{1,6}", 0..4),
        ) {
            let passwd: String = users.iter().map(|(n, u, g)| format!("{n}:x:{u}:{g}::/:/bin/sh\n")).collect();
            let group: String = users.iter().map(|(n, _, g)| format!("{n}:x:{g}:{}\n", members.join(","))).collect();
            let read = UserDatabase::parse(passwd.as_bytes(), group.as_bytes());
            prop_assert_eq!(read.passwd.len(), users.len());
            for (entry, (name, uid, gid)) in read.passwd.iter().zip(&users) {
                prop_assert_eq!((&entry.name, entry.uid, entry.gid), (name, *uid, *gid));
            }
            for entry in &read.group {
                prop_assert_eq!(&entry.members, &members);
            }
        }
    }
}
