//! What can be said against a file or a folder.

use serde::Serialize;

/// How much a remark counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training would stop, or leave the file out.
    Error,
    /// It works, but not as somebody may think.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A remark on one file or folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// What it is about.
    pub kind: Kind,
    /// What was found, where the kind does not say it all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Remark {
    /// A remark with `detail`, which may be empty.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Remark {
        Remark { kind, detail: detail.into() }
    }
}

/// Declares the kinds once: variant, severity, words, and what it means.
macro_rules! kinds {
    ($($kind:ident $severity:ident $title:literal $doc:literal)*) => {
        /// What a remark is about, in the order of the report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind {
            $(#[doc = $doc] $kind,)*
        }

        impl Kind {
            /// All of them, in order.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// How much it counts.
            pub fn severity(self) -> Severity {
                match self {
                    $(Kind::$kind => Severity::$severity,)*
                }
            }

            /// A few words for a table.
            pub fn title(self) -> &'static str {
                match self {
                    $(Kind::$kind => $title,)*
                }
            }
        }
    };
}

kinds! {
    Layout Error "cannot be trained on as it is" "The folder is no data set as training takes it."
    ClassesDiffer Error "classes of the splits differ" "A class of one split is missing or empty in the other."
    EmptyClass Error "class folder without a picture" "A class folder holds no file that is a picture by its name."
    FolderName Error "folder name is not UTF-8" "A class cannot be named by its folder."
    Loop Error "link to a folder around it" "Following it would never end."
    FolderUnreadable Error "folder cannot be read" "The system refuses to list it."
    Unreadable Error "cannot be read" "The system refuses to read the file: permissions, or a link to nothing."
    Empty Error "zero bytes" "The file is empty."
    Truncated Error "truncated" "The file ends before its picture does."
    NoPicture Error "not a picture" "Text, a web page, or nothing that is known."
    ForeignFormat Error "picture of a format that is not read" "GIF, WEBP, BMP, TIFF and others."
    Unsupported Error "variant that is not read" "A JPEG of 12 bits, without loss, or of two channels."
    TooLarge Error "more pixels than are handled" "Taken for a decompression bomb."
    Broken Error "broken" "The file contradicts its format."
    CopyAcrossSplits Warning "same bytes in train and val" "The validation error does not count for this picture: it was learnt."
    CopyAcrossClasses Warning "same bytes under two classes" "One of the labels is wrong, or both are right."
    AlikeAcrossSplits Warning "looks alike in train and val" "Almost the same picture is in the other split."
    AlikeAcrossClasses Warning "looks alike under two classes" "Almost the same picture has another label."
    Imbalance Warning "classes of very different size" "The largest class has more than ten times as many pictures as the smallest."
    WrongExtension Warning "named as the other format" "A PNG named .jpg, or a JPEG named .png: read by its content."
    Cmyk Warning "CMYK" "Four inks, turned to RGB without a colour profile."
    Ycck Warning "YCCK" "Four inks in another order, likewise."
    SixteenBits Warning "16 bits a channel" "The upper 8 are taken."
    Tiny Warning "tiny" "Shorter side under 32 pixels, or under a quarter of the network's input."
    Huge Warning "huge" "More than 40 megapixels: slow to decode at every epoch."
    FileName Warning "file name is not UTF-8" "Read, but its name is shown with marks in place of what is not UTF-8."
    Stray Warning "outside of every class folder" "A picture that belongs to no class is not used."
    IgnoredPicture Warning "picture ignored for its extension" "Only .jpg, .jpeg and .png are used, whatever a file holds."
    Copy Note "same bytes in one class" "Counts twice in training."
    Alike Note "looks alike in one class" "Almost the same picture is there already."
    Ignored Note "ignored for its extension" "Not .jpg, .jpeg or .png, and no picture."
    Grey Note "greyscale" "Becomes three equal channels."
    Transparent Note "may be transparent" "Has an alpha channel or a transparent colour: laid on white."
    Rotated Note "rotated by EXIF" "Turned upright here; other programs may not do so."
}

impl Kind {
    /// Whether the file itself is at fault, so that `--fix` puts it aside. One that the system refuses may be sound.
    pub fn is_fixable(self) -> bool {
        use Kind::{Broken, Empty, ForeignFormat, NoPicture, TooLarge, Truncated, Unsupported};
        matches!(self, Empty | Truncated | NoPicture | ForeignFormat | Unsupported | TooLarge | Broken)
    }
}
