//! The reading side: nothing on disk is trusted, and nothing that is good is lost.

use std::io::Write as _;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use proptest::prelude::*;

use super::super::tests::{bundle, decision, ownership, phase, tree_of};
use super::*;
use crate::egress::AuditVerdict;
use crate::messages::{BottleEvent, EventRecord};
use crate::plan::spec::Ownership;

fn all(follow: &mut Follow) -> Vec<EventRecord> {
    follow.look();
    std::iter::from_fn(|| follow.next()).collect()
}

fn seqs(records: &[EventRecord]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

fn events_file(state_dir: &Path, owned: &Ownership) -> PathBuf {
    Journal::dir(state_dir, &owned.bottle).join(files::EVENTS)
}

#[test]
fn what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (ownership("00aa", "o1"), ownership("00bb", "o2"));
    let mut first = Journal::open(dir.path(), &one);
    let mut second = Journal::open(dir.path(), &two);
    let tree_of_one = tree_of(&one, "ready");
    first.tree(&tree_of_one);
    first.event(&phase("ready"));
    second.event(&BottleEvent::GroundLost);
    let entries = bottles(dir.path()).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.bottle.as_str()).collect::<Vec<_>>(), ["00aa", "00bb"]);
    assert_eq!(entries[0].tree.as_ref().unwrap(), &tree_of_one);
    assert!(entries[1].tree.as_ref().unwrap_err().is_absent(), "not yet");
    assert_eq!(entries[1].owner.as_ref().unwrap().as_str(), "o2");
    let mut follow = Follow::new(dir.path());
    let mut read = all(&mut follow);
    read.sort_by(|a, b| a.bottle.cmp(&b.bottle));
    assert_eq!(read, [first.last_events(9), second.last_events(9)].concat());
    let bundle = bundle(&one, &first);
    first.post_mortem(&bundle);
    first.close();
    let kept = post_mortems(dir.path()).unwrap();
    assert_eq!(post_mortem(&kept[0]).unwrap(), bundle);
}

#[test]
fn a_refused_request_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), &ownership("00aa", "o1"));
    journal.event(&decision(AuditVerdict::Deny, false));
    assert_eq!(all(&mut Follow::new(dir.path())), journal.last_events(9));
    let again = Journal::open(dir.path(), &ownership("00aa", "o1"));
    assert_eq!(again.last_events(9), journal.last_events(9));
}

#[test]
fn an_empty_or_missing_state_directory_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    assert!(bottles(&nowhere).unwrap().is_empty());
    assert!(post_mortems(&nowhere).unwrap().is_empty());
    assert!(all(&mut Follow::new(&nowhere)).is_empty());
    std::fs::write(dir.path().join("bottles"), "").unwrap();
    assert!(bottles(dir.path()).is_err());
    assert!(all(&mut Follow::new(dir.path())).is_empty());
}

#[test]
fn a_file_that_is_wrong_is_an_error_of_that_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let good = ownership("00aa", "o1");
    Journal::open(dir.path(), &good).tree(&tree_of(&good, "ready"));
    let place = |id: &str| {
        let place = Journal::dir(dir.path(), &BottleId::from(id));
        std::fs::create_dir(&place).unwrap();
        place.join("tree.json")
    };
    let whole = serde_json::to_string(&tree_of(&good, "ready")).unwrap();
    std::fs::write(place("01"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(place("02"), [0; 4096]).unwrap();
    std::fs::write(place("03"), "{\"bottle\":\"03\",\"version\":2}").unwrap();
    std::fs::write(place("04"), &whole).unwrap();
    std::fs::create_dir(place("05")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place("06")).unwrap();
    let huge = std::fs::File::create(place("07")).unwrap();
    huge.set_len(1 << 40).unwrap();
    std::fs::write(place("08"), "[".repeat(100_000)).unwrap();
    let pipe = place("09");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(dir.path().join("bottles/not a bottle"), "").unwrap();
    let entries = bottles(dir.path()).unwrap();
    assert_eq!(entries.len(), 10);
    assert!(entries[0].bottle == good.bottle && entries[0].tree.is_ok());
    for entry in &entries[1..] {
        let error = entry.tree.as_ref().unwrap_err();
        assert!(!error.is_absent(), "{error}");
        let expected = match entry.bottle.as_str() {
            "04" => matches!(error, ReadError::Foreign { .. }),
            "05" | "06" | "09" => matches!(error, ReadError::Io { .. }),
            "07" => matches!(error, ReadError::TooLarge { .. }),
            _ => matches!(error, ReadError::Invalid { .. }),
        };
        assert!(expected, "{}: {error:?}", entry.bottle);
    }
}

#[test]
fn a_tree_of_a_newer_version_with_more_in_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let tree = tree_of(&owned, "ready");
    Journal::open(dir.path(), &owned).tree(&tree);
    let mut value = serde_json::to_value(&tree).unwrap();
    value["mood"] = "good".into();
    std::fs::write(Journal::dir(dir.path(), &owned.bottle).join("tree.json"), value.to_string()).unwrap();
    assert_eq!(super::tree(dir.path(), &owned.bottle).unwrap(), tree);
}

#[test]
fn a_follower_sees_every_event_once_across_files_that_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open_with(dir.path(), &owned, 1500, Duration::ZERO);
    let mut follow = Follow::new(dir.path());
    let mut seen = Vec::new();
    for number in 0..300 {
        journal.event(&phase("ready"));
        if number % 7 == 0 {
            seen.extend(seqs(&all(&mut follow)));
        }
    }
    journal.event(&phase("closing"));
    seen.extend(seqs(&all(&mut follow)));
    journal.event(&phase("gone"));
    journal.close();
    seen.extend(seqs(&all(&mut follow)));
    assert_eq!(seen, (1..=302).collect::<Vec<_>>(), "also what was written just before the files went");
    assert!(all(&mut follow).is_empty());
    assert!(follow.bottles_followed() == 0 && follow.skipped() == 0);
    // The same bottle again is a new one.
    Journal::open(dir.path(), &owned).event(&phase("launching"));
    assert_eq!(seqs(&all(&mut follow)), [1]);
}

#[test]
fn who_comes_late_reads_both_files() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open_with(dir.path(), &owned, 1500, Duration::ZERO);
    for _ in 0..100 {
        journal.event(&phase("ready"));
    }
    let seen = seqs(&all(&mut Follow::new(dir.path())));
    assert!(seen.len() > 10 && seen == (101 - seen.len() as u64..=100).collect::<Vec<_>>(), "{seen:?}");
}

#[test]
fn a_reader_beside_the_writer_sees_whole_lines_and_whole_trees() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open_with(dir.path(), &owned, 100_000, Duration::ZERO);
    journal.tree(&tree_of(&owned, "0"));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..2000 {
                journal.event(&phase(&"x".repeat(number % 500)));
                journal.tree(&tree_of(&owned, &"y".repeat(number % 3000)));
            }
        });
        let mut follow = Follow::new(dir.path());
        let mut seen = Vec::new();
        loop {
            let is_last = writer.is_finished();
            seen.extend(seqs(&all(&mut follow)));
            super::tree(dir.path(), &owned.bottle).unwrap();
            if is_last {
                break;
            }
        }
        assert_eq!(follow.skipped(), 0, "no half line");
        assert!(seen.is_sorted() && seen.last() == Some(&2000));
    });
}

#[test]
fn a_line_without_an_end_is_not_kept_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open(dir.path(), &owned);
    journal.event(&phase("launching"));
    let mut file = std::fs::OpenOptions::new().append(true).open(events_file(dir.path(), &owned)).unwrap();
    for _ in 0..3 {
        file.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    file.write_all(b"\n").unwrap();
    journal.event(&phase("ready"));
    let mut follow = Follow::new(dir.path());
    assert_eq!(seqs(&all(&mut follow)), [1, 2]);
    assert_eq!(follow.skipped(), 1);
}

#[test]
fn a_file_that_is_cut_is_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open(dir.path(), &owned);
    for _ in 0..5 {
        journal.event(&phase("ready"));
    }
    let mut follow = Follow::new(dir.path());
    assert_eq!(all(&mut follow).len(), 5);
    std::fs::File::options().write(true).open(events_file(dir.path(), &owned)).unwrap().set_len(0).unwrap();
    journal.event(&phase("degraded"));
    assert_eq!(seqs(&all(&mut follow)), [6]);
}

#[test]
fn events_of_several_bottles_come_in_the_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut journals = ["00aa", "00bb", "00cc"].map(|id| Journal::open(dir.path(), &ownership(id, "o1")));
    for number in 0..30 {
        journals[number % 3].event(&phase("ready"));
        std::thread::sleep(Duration::from_millis(2));
    }
    let seen = all(&mut Follow::new(dir.path()));
    assert!(seen.len() == 30 && seen.is_sorted_by_key(|record| record.time.clone()));
}

#[tokio::test]
async fn the_stream_goes_on_with_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let one = ownership("00aa", "o1");
    let mut journal = Journal::open(dir.path(), &one);
    for _ in 0..600 {
        journal.event(&phase("ready"));
    }
    let begun = Instant::now();
    let mut stream = Box::pin(Follow::new(dir.path()).into_stream());
    for seq in 1..=600 {
        assert_eq!(stream.next().await.unwrap().seq, seq);
    }
    Journal::open(dir.path(), &ownership("00bb", "o1")).event(&BottleEvent::EngineLost);
    assert_eq!(stream.next().await.unwrap().bottle.as_str(), "00bb");
    journal.event(&phase("gone"));
    journal.close();
    assert_eq!(stream.next().await.unwrap().seq, 601);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(tokio::time::timeout(Duration::from_millis(700), stream.next()).await.is_err(), "it never ends");
}

/// What may stand between two good lines.
fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    let line = br#"{"time":"2026-11-23T10:00:00.000Z","seq":1,"bottle":"00aa","slug":"coder","event":"engine_lost"}"#;
    prop_oneof![
        proptest::collection::vec(any::<u8>().prop_filter("one line", |byte| *byte != b'\n'), 0..300),
        (0..line.len()).prop_map(move |end| line[..end].to_vec()),
        (0..line.len(), any::<u8>().prop_filter("one line", |byte| *byte != b'\n')).prop_map(
            move |(at, byte)| {
                let mut broken = line.to_vec();
                broken[at] = byte;
                // A change that leaves a good line would be a good line.
                broken.push(b'}');
                broken
            }
        ),
        Just(br#"{"time":"x","seq":1,"bottle":"00bb","slug":"other","event":"engine_lost"}"#.to_vec()),
        Just(br#"{"time":"x","seq":1,"bottle":"00aa","slug":"coder","event":"of_another_version"}"#.to_vec()),
        Just(vec![b'['; 10_000]),
        Just(Vec::new()),
    ]
}

proptest! {
    #[test]
    fn broken_lines_anywhere_never_lose_the_good_ones(
        mix in proptest::collection::vec(prop_oneof![Just(None), rubbish().prop_map(Some)], 0..40),
        is_torn in any::<bool>(),
        cut in 0..40usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let owned = ownership("00aa", "o1");
        let mut journal = Journal::open(dir.path(), &owned);
        let path = events_file(dir.path(), &owned);
        let mut written = 0;
        let mut follow = Follow::new(dir.path());
        let mut seen = Vec::new();
        for (number, piece) in mix.iter().enumerate() {
            if number == cut {
                seen.extend(seqs(&all(&mut follow)));
            }
            match piece {
                None => {
                    journal.event(&phase("ready"));
                    written += 1;
                }
                Some(rubbish) => {
                    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
                    file.write_all(rubbish).unwrap();
                    file.write_all(b"\n").unwrap();
                }
            }
        }
        if is_torn {
            std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time\":").unwrap();
        }
        seen.extend(seqs(&all(&mut follow)));
        prop_assert_eq!(&seen, &(1..=written).collect::<Vec<_>>());
        // Whoever takes the journal over is not confused either.
        let mut next = Journal::open(dir.path(), &owned);
        next.event(&BottleEvent::EngineBack);
        prop_assert_eq!(seqs(&next.last_events(1)), [written + 1]);
        prop_assert_eq!(seqs(&all(&mut follow)), [written + 1]);
    }

    #[test]
    fn names_of_post_mortems_are_understood_or_passed_over(name in "\\PC{0,60}", slug in "[a-z0-9-]{1,40}") {
        let _ = PostMortemFile::of(PathBuf::from(name));
        let good = format!("/x/20261123T101112.123Z-{slug}-0011223344556677.json");
        let file = PostMortemFile::of(PathBuf::from(good)).unwrap();
        prop_assert_eq!((file.slug.as_str(), file.bottle.as_str()), (&*slug, "0011223344556677"));
    }
}
