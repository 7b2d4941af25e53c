//! PyTorch files against what PyTorch 2.15 reads in them: `reference/pytorch_files.py` makes both.

mod common;

use std::path::PathBuf;

use common::{check, damage, expected};
use inception_formats::{Dtype, Format, Problem, open, open_bytes};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch").join(name)
}

const SOUND: [&str; 13] = [
    "state",
    "legacy",
    "checkpoint",
    "checkpoint_legacy",
    "only_ema",
    "partial_ema",
    "arguments",
    "arguments_legacy",
    "views",
    "views_legacy",
    "types",
    "types_legacy",
    "protocol4",
];

const REFUSED: [&str; 7] =
    ["model.pth", "torchscript.pth", "evil.pth", "evil_legacy.pth", "evil.pkl", "tensor.pth", "repeated.pth"];

#[test]
fn names_shapes_types_and_values_are_pytorch_s_in_its_order() {
    for name in SOUND {
        let mut file = open(&fixture(&format!("{name}.pth"))).unwrap();
        assert_eq!(file.format(), Format::Pytorch);
        check(&mut file, &expected(&fixture(&format!("{name}.json"))), name);
    }
}

#[test]
fn bytes_in_memory_read_as_the_file_does() {
    for name in SOUND {
        let bytes = std::fs::read(fixture(&format!("{name}.pth"))).unwrap();
        check(&mut open_bytes(bytes).unwrap(), &expected(&fixture(&format!("{name}.json"))), name);
    }
}

#[test]
fn the_types_are_all_there() {
    let file = open(&fixture("types.pth")).unwrap();
    use Dtype::{Bf16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};
    let found: Vec<_> = file.tensors()[..10].iter().map(|tensor| tensor.dtype).collect();
    assert_eq!(found, [F32, F64, F16, Bf16, I8, U8, I16, I32, I64, Bool]);
}

#[test]
fn the_averages_of_a_checkpoint_are_taken_and_what_is_left_is_told() {
    for name in ["checkpoint.pth", "checkpoint_legacy.pth"] {
        let file = open(&fixture(name)).unwrap();
        let left = "epoch, arch, best_acc1, optimizer, state_dict, lr, done, history, big, size, device";
        let texts = [("taken", "state_dict_ema"), ("left", left)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(file.texts(), texts);
        assert!(file.tensors().iter().all(|tensor| tensor.name.starts_with("module.")));
    }
    assert!(open(&fixture("state.pth")).unwrap().texts().is_empty());
}

fn refusal(name: &str) -> String {
    match open(&fixture(name)).map(|_| ()) {
        Err(error) if matches!(error.problem, Problem::Refused(_)) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn code_is_refused_by_name() {
    for name in ["evil.pth", "evil_legacy.pth", "evil.pkl"] {
        let text = refusal(name);
        assert!(text.contains("the file wants to run code: `posix.system`; "), "{text}");
        assert!(text.ends_with("save only the weights: torch.save(model.state_dict(), PATH)"), "{text}");
    }
}

#[test]
fn a_whole_model_and_a_program_are_refused_with_advice() {
    let text = refusal("model.pth");
    assert!(text.contains("`torch.nn.modules.container.Sequential`"), "{text}");
    assert!(text.contains("torch.save(model.state_dict(), PATH)"), "{text}");
    assert!(refusal("torchscript.pth").contains("TorchScript"));
    assert!(refusal("tensor.pth").contains("no dictionary of tensors"));
    assert!(refusal("repeated.pth").contains(".contiguous()"));
}

#[test]
fn what_is_only_mentioned_is_refused_too() {
    // {"x": os.system}, not called.
    let text = open_bytes(b"\x80\x02}X\x01\x00\x00\x00xcos\nsystem\ns.".to_vec()).err().unwrap().to_string();
    assert!(text.contains("it refers to `os.system`"), "{text}");
    for (pickle, class) in [
        (&b"\x80\x02(cos\nsystem\nX\x02\x00\x00\x00lso."[..], "os.system"),
        (b"\x80\x02(X\x02\x00\x00\x00lsios\nsystem\n.", "os.system"),
        (b"\x80\x02cbuiltins\neval\n)\x81.", "builtins.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "builtins.eval"),
    ] {
        let error = open_bytes(pickle.to_vec()).err().unwrap();
        assert!(matches!(error.problem, Problem::Refused(_)), "{error}");
        assert!(error.to_string().contains(&format!("`{class}`")), "{error}");
    }
}

#[test]
fn big_endian_values_are_refused() {
    let bytes = std::fs::read(fixture("state.pth")).unwrap();
    let at = bytes.windows(6).position(|w| w == b"little").unwrap();
    let mut big = bytes;
    big[at..at + 6].copy_from_slice(b"big   ");
    let text = open_bytes(big).err().unwrap().to_string();
    assert!(text.contains("big endian"), "{text}");
}

#[test]
fn damaged_files_give_an_error_or_a_well_formed_result() {
    for name in SOUND.map(|name| format!("{name}.pth")).iter().map(String::as_str).chain(REFUSED) {
        damage(&std::fs::read(fixture(name)).unwrap(), 1_500, name);
    }
}

#[test]
fn a_cut_file_never_opens() {
    for name in SOUND {
        let bytes = std::fs::read(fixture(&format!("{name}.pth"))).unwrap();
        for end in (0..bytes.len()).step_by(7) {
            assert!(open_bytes(bytes[..end].to_vec()).is_err(), "{name} cut at {end}");
        }
    }
}
