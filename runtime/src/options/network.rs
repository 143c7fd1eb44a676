//! What a line says about a box's network.
//!
//! Man page: docker-run(1), `--network` and `--publish`, whose form is kept. Look at it: `tare-runtime help run`

use tare_runtime::network::{Network, OnBridge, Publish, Subnet};

use super::values::one_of;
use crate::words::Said;

/// The three that have a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Host,
    Bridge,
}

pub(super) fn network(said: &Said) -> Result<Network, String> {
    said.alone("network", &["network-namespace"])?;
    let kinds = [("none", Kind::None), ("host", Kind::Host), ("bridge", Kind::Bridge)];
    let kind = said.value("network", |text| one_of(text, &kinds))?.unwrap_or(Kind::None);
    if let Some(option) = ["publish", "subnet"].iter().find(|option| said.has(option) && kind != Kind::Bridge)
    {
        return Err(format!("--{option} has a meaning only with --network bridge"));
    }
    Ok(match (kind, said.path("network-namespace")) {
        (Kind::None, Some(path)) => Network::Namespace(path),
        (Kind::None, None) => Network::None,
        (Kind::Host, _) => Network::Host,
        (Kind::Bridge, _) => Network::Bridge(OnBridge {
            subnet: said.value("subnet", str::parse::<Subnet>)?,
            publish: said
                .values("publish")?
                .iter()
                .map(|text| text.parse::<Publish>().map_err(|why| format!("--publish {text}: {why}")))
                .collect::<Result<_, _>>()?,
        }),
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::commands::PROGRAM;
    use crate::words::Stop;

    fn parse(words: &[&str]) -> Result<Network, String> {
        let line = ["run", "--rootfs", "/r"].iter().chain(words).chain(&["box"]).map(OsString::from);
        match PROGRAM.sort(line) {
            Ok((_, said)) => network(&said),
            Err(Stop::Wrong(why)) => Err(why),
            Err(Stop::Asked(text)) => panic!("{text}"),
        }
    }

    #[test]
    fn a_box_talks_to_nobody_unless_somebody_says_to_whom() {
        assert_eq!(parse(&[]), Ok(Network::None));
        assert_eq!(parse(&["--network", "none"]), Ok(Network::None));
        assert_eq!(parse(&["--network", "host"]), Ok(Network::Host));
        assert_eq!(parse(&["--network-namespace", "/n"]), Ok(Network::Namespace("/n".into())));
        let bridge =
            parse(&["--network", "bridge", "-p", "80:80", "--publish", "81", "--subnet", "10.9.0.0/24"]);
        let Ok(Network::Bridge(bridge)) = bridge else { panic!("{bridge:?}") };
        assert_eq!(
            (bridge.publish.len(), bridge.subnet.map(|it| it.to_string())),
            (2, Some("10.9.0.0/24".into()))
        );
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for (words, why) in [
            (&["--network", "host", "--network-namespace", "/n"][..], "exclude each other"),
            (&["-p", "80:80"][..], "--publish has a meaning only with --network bridge"),
            (&["--network", "none", "--subnet", "10.9.0.0/24"][..], "--subnet has a meaning only"),
            (&["--network", "container:x"][..], "expected none or host or bridge"),
            (
                &["--network", "bridge", "-p", "1:1/udp"][..],
                "--publish 1:1/udp: only TCP is published, no UDP",
            ),
            (&["--network", "bridge", "--subnet", "10.9.0.1/24"][..], "has other bits than zero"),
        ] {
            let error = parse(words).expect_err("refused");
            assert!(error.contains(why), "{words:?}: {error}");
        }
    }
}
