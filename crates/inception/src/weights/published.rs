//! Files that were published, and the accuracy that their publishers report (ILSVRC-2012 validation, single crop).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use inception_graph::Layout;
use md5::Md5;
use sha2::{Digest, Sha256};

/// A published file.
#[derive(Debug, PartialEq)]
pub struct Published {
    /// Its name.
    pub name: &'static str,
    /// What it is told by.
    hash: Hash,
    /// Its layout and network.
    layout: Layout,
    net: &'static str,
    /// What its publishers report.
    pub accuracy: &'static str,
}

/// A digest in hexadecimal.
#[derive(Debug, PartialEq)]
enum Hash {
    /// The first eight digits of SHA-256, which PyTorch's file names end in.
    Sha256(&'static str),
    /// MD5, which Keras checks.
    Md5(&'static str),
    /// None is known.
    Unknown,
}

const PUBLISHED: &[Published] = &[
    file(
        "inception_v3_google-0cc3c7bd.pth",
        Hash::Sha256("0cc3c7bd"),
        Layout::Torchvision,
        "inception_v3.torchvision",
        "77.294 % top-1, 93.450 % top-5 (torchvision)",
    ),
    file(
        "inception_v3_google-1a9a5a14.pth",
        Hash::Sha256("1a9a5a14"),
        Layout::Torchvision,
        "inception_v3.torchvision",
        "77.294 % top-1, 93.450 % top-5 (torchvision, of the current file)",
    ),
    file(
        "tf_inception_v3-e0069de4.pth",
        Hash::Sha256("e0069de4"),
        Layout::Torchvision,
        "inception_v3.torchvision",
        "77.866 % top-1, 93.644 % top-5 (timm)",
    ),
    file(
        "adv_inception_v3-9e27bd63.pth",
        Hash::Sha256("9e27bd63"),
        Layout::Torchvision,
        "inception_v3.torchvision",
        "77.598 % top-1, 93.726 % top-5 (timm)",
    ),
    file(
        "inceptionv4-8e4777a0.pth",
        Hash::Sha256("8e4777a0"),
        Layout::Timm,
        "inception_v4",
        "80.144 % top-1, 94.982 % top-5 (timm)",
    ),
    file(
        "inception_resnet_v2-940b1cd6.pth",
        Hash::Sha256("940b1cd6"),
        Layout::Timm,
        "inception_resnet_v2.slim",
        "80.434 % top-1, 95.312 % top-5 (timm)",
    ),
    file(
        "ens_adv_inception_resnet_v2-2592a550.pth",
        Hash::Sha256("2592a550"),
        Layout::Timm,
        "inception_resnet_v2.slim",
        "79.998 % top-1, 94.940 % top-5 (timm)",
    ),
    file(
        "inceptionresnetv2-520b38e4.pth",
        Hash::Sha256("520b38e4"),
        Layout::Timm,
        "inception_resnet_v2.slim",
        "80.170 % top-1, 95.234 % top-5 (Cadene)",
    ),
    file(
        "pt_inception-2015-12-05-6726825d.pth",
        Hash::Sha256("6726825d"),
        Layout::PytorchFid,
        "inception_v3.fid",
        "none: it is for features",
    ),
    file(
        "inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        Hash::Md5("9a0d58056eeedaa3f26cb7ebd46da564"),
        Layout::Keras,
        "inception_v3",
        "77.9 % top-1, 93.7 % top-5 (Keras)",
    ),
    file(
        "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5",
        Hash::Md5("e693bd0210a403b3192acc6073ad2e96"),
        Layout::Keras,
        "inception_resnet_v2.slim",
        "80.3 % top-1, 95.3 % top-5 (Keras)",
    ),
    file(
        "inception_v3_2016_08_28",
        Hash::Unknown,
        Layout::Slim,
        "inception_v3",
        "78.0 % top-1, 93.9 % top-5 (slim)",
    ),
    file(
        "inception_v4_2016_09_09",
        Hash::Unknown,
        Layout::Slim,
        "inception_v4",
        "80.2 % top-1, 95.2 % top-5 (slim)",
    ),
    file(
        "inception_resnet_v2_2016_08_30",
        Hash::Unknown,
        Layout::Slim,
        "inception_resnet_v2.slim",
        "80.4 % top-1, 95.3 % top-5 (slim)",
    ),
    file(
        "20180402-114759",
        Hash::Unknown,
        Layout::Facenet,
        "inception_resnet_v1.facenet",
        "LFW 0.9965 (VGGFace2, FaceNet)",
    ),
    file(
        "20180402-114759-vggface2.pt",
        Hash::Unknown,
        Layout::FacenetPytorch,
        "inception_resnet_v1.facenet",
        "LFW 0.9965 (VGGFace2, of the original)",
    ),
];

const fn file(
    name: &'static str,
    hash: Hash,
    layout: Layout,
    net: &'static str,
    accuracy: &'static str,
) -> Published {
    Published { name, hash, layout, net, accuracy }
}

/// The published file that the one at `path` is, told by its digest.
pub fn identify(path: &Path) -> io::Result<Option<&'static Published>> {
    let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        sha256.update(&buffer[..n]);
        md5.update(&buffer[..n]);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (sha256, md5) = (hex(&sha256.finalize()), hex(&md5.finalize()));
    Ok(PUBLISHED.iter().find(|p| match p.hash {
        Hash::Sha256(start) => sha256.starts_with(start),
        Hash::Md5(all) => md5 == all,
        Hash::Unknown => false,
    }))
}

/// Everything that was published of `net` in `layout`.
pub fn of(layout: Layout, net: &str) -> impl Iterator<Item = &'static Published> {
    PUBLISHED.iter().filter(move |p| p.layout == layout && p.net == net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(identify(file.path()).unwrap(), None);
        assert_eq!(format!("{:x?}", &Md5::digest("abc")[..3]), "[90, 1, 50]");
        assert_eq!(format!("{:x?}", &Sha256::digest("abc")[..3]), "[ba, 78, 16]");
    }

    #[test]
    fn every_file_is_of_a_network_in_its_layout() {
        for p in PUBLISHED {
            assert!(p.layout.nets().contains(&p.net), "{}", p.name);
        }
    }
}
