//! Arrays of structs in MATLAB's files of level 5, of which ImageNet's devkit has one: `meta.mat`.
//!
//! ```text
//! file      128 bytes: text, version, "IM"; then elements
//! element   kind (u32), length (u32), data, zeros up to 8 bytes; or both in one u32 and up to 4 bytes of data
//! 15        zlib: one element of kind 14
//! 14        an array: flags, extents, name; then, by its class,
//!             struct   width of names, names; an array for each field of each struct
//!             text     its characters
//!             numbers  their values, of any kind that holds them
//! ```
//! <https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf>. Nothing is kept but the fields that are asked for, memory is
//! bounded by [`LIMIT`] whatever a file claims, and a field's own fields are not looked into.

/// Largest file, and most bytes that one unpacks to. The devkit's has under a megabyte.
pub(super) const LIMIT: usize = 1 << 26;

/// Kinds of elements.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// Classes of arrays.
const STRUCT: u8 = 2;
const CHAR: u8 = 4;
const NUMBERS: std::ops::RangeInclusive<u8> = 6..=15;

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// One number.
    Number(f64),
    /// Characters.
    Text(String),
    /// Anything else.
    Other,
}

/// The structs of `variable`, of each the `fields`; the error says what was found instead, and of which file is for the caller to
/// say.
pub(super) fn structs<const N: usize>(
    file: &[u8],
    variable: &str,
    fields: [&str; N],
) -> Result<Vec<[Value; N]>, String> {
    let Some((header, mut rest)) = file.split_at_checked(128) else {
        return Err("is no MATLAB file: it has fewer than 128 bytes".into());
    };
    match &header[124..] {
        _ if header.starts_with(b"MATLAB 7.3") => {
            return Err("is a MATLAB file of version 7.3: save it as version 7, `save -v7`".into());
        }
        [_, 1, b'I', b'M'] => {}
        [1, _, b'M', b'I'] => return Err("is a big-endian MATLAB file: take the devkit's own".into()),
        _ => return Err("is no MATLAB file of level 5".into()),
    }
    while !rest.is_empty() {
        let element = element(&mut rest)?;
        let unpacked;
        let array = match element.kind {
            COMPRESSED => {
                unpacked = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(element.data, LIMIT)
                    .map_err(|e| format!("is damaged: it cannot be unpacked ({:?})", e.status))?;
                self::element(&mut &unpacked[..])?
            }
            _ => element,
        };
        if array.kind == MATRIX
            && let Some(found) = named(array.data, variable, fields)?
        {
            return Ok(found);
        }
    }
    Err(format!("has no `{variable}`"))
}

/// An element without its tag.
#[derive(Clone, Copy)]
struct Element<'a> {
    kind: u32,
    data: &'a [u8],
}

/// Takes `count` bytes.
fn take<'a>(from: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let cut_off = || "is cut off, or damaged: an element is longer than what it is in".to_string();
    let (taken, rest) = from.split_at_checked(count).ok_or_else(cut_off)?;
    *from = rest;
    Ok(taken)
}

fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Takes an element, and the zeros behind it.
fn element<'a>(from: &mut &'a [u8]) -> Result<Element<'a>, String> {
    let tag = take(from, 8)?;
    let first = word(tag);
    if first >> 16 != 0 {
        let small = &tag[4..];
        let data = small.get(..(first >> 16) as usize);
        let data = data.ok_or("is damaged: a small element of more than four bytes")?;
        return Ok(Element { kind: first & 0xffff, data });
    }
    let data = take(from, word(&tag[4..]) as usize)?;
    if first != COMPRESSED {
        let zeros = data.len().next_multiple_of(8) - data.len();
        // The last ones may be missing.
        take(from, zeros.min(from.len()))?;
    }
    Ok(Element { kind: first, data })
}

/// What begins every array: class, number of values, name.
fn array_head<'a>(from: &mut &'a [u8]) -> Result<(u8, usize, &'a [u8]), String> {
    let class = element(from)?.data.first().copied().unwrap_or_default();
    let extents = element(from)?.data.chunks_exact(4);
    let count = extents.map(|extent| word(extent) as usize).try_fold(1usize, usize::checked_mul);
    let count = count.ok_or("is damaged: an array of more values than there is memory")?;
    Ok((class, count, element(from)?.data))
}

/// The structs of an array if it is called `variable`.
fn named<const N: usize>(
    mut array: &[u8],
    variable: &str,
    fields: [&str; N],
) -> Result<Option<Vec<[Value; N]>>, String> {
    let from = &mut array;
    let (class, count, name) = array_head(from)?;
    if name != variable.as_bytes() {
        return Ok(None);
    }
    if class != STRUCT {
        return Err(format!("has a `{variable}` that is no array of structs"));
    }
    let width = word(element(from)?.data) as usize;
    let names = element(from)?.data;
    if width == 0 || !names.len().is_multiple_of(width) {
        return Err(format!("is damaged: names of `{variable}`'s fields do not fill their place"));
    }
    let names: Vec<&[u8]> =
        names.chunks(width).map(|name| name.split(|&byte| byte == 0).next().unwrap_or_default()).collect();
    let mut places = [0; N];
    for (place, field) in places.iter_mut().zip(fields) {
        let found = names.iter().position(|name| *name == field.as_bytes());
        *place = found.ok_or_else(|| format!("has a `{variable}` without the field `{field}`"))?;
    }
    let mut structs = Vec::new();
    // Each field takes eight bytes at the least, so a count that is a lie ends with the file.
    for _ in 0..count {
        let row = names.iter().map(|_| value(element(from)?)).collect::<Result<Vec<Value>, String>>()?;
        structs.push(places.map(|place| row[place].clone()));
    }
    Ok(Some(structs))
}

/// The value of a field.
fn value(field: Element) -> Result<Value, String> {
    let mut array = field.data;
    // An empty element stands for an empty array.
    if field.kind != MATRIX || array.is_empty() {
        return Ok(Value::Other);
    }
    let from = &mut array;
    let (class, count, _) = array_head(from)?;
    Ok(match class {
        CHAR => Value::Text(text(element(from)?)?),
        class if NUMBERS.contains(&class) && count == 1 => {
            number(element(from)?).map_or(Value::Other, Value::Number)
        }
        _ => Value::Other,
    })
}

/// Characters, which are stored as bytes, or as units of UTF-8 or UTF-16.
fn text(element: Element) -> Result<String, String> {
    let units = || element.data.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    match element.kind {
        1 | 2 | 16 => Ok(String::from_utf8_lossy(element.data).into_owned()),
        3 | 4 | 17 => {
            Ok(char::decode_utf16(units()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        kind => Err(format!("has characters of the kind {kind}, which is not read")),
    }
}

/// The first number, stored in the smallest kind that holds it.
fn number(Element { kind, data }: Element) -> Option<f64> {
    Some(match kind {
        1 => f64::from(i8::from_le_bytes(*data.first_chunk()?)),
        2 => f64::from(u8::from_le_bytes(*data.first_chunk()?)),
        3 => f64::from(i16::from_le_bytes(*data.first_chunk()?)),
        4 => f64::from(u16::from_le_bytes(*data.first_chunk()?)),
        5 => f64::from(i32::from_le_bytes(*data.first_chunk()?)),
        6 => f64::from(u32::from_le_bytes(*data.first_chunk()?)),
        7 => f64::from(f32::from_le_bytes(*data.first_chunk()?)),
        9 => f64::from_le_bytes(*data.first_chunk()?),
        12 => i64::from_le_bytes(*data.first_chunk()?) as f64,
        13 => u64::from_le_bytes(*data.first_chunk()?) as f64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `reference/devkit_meta.py`: compressed with numbers as f64, plain with numbers as u16 behind another variable.
    const FILES: [&[u8]; 2] = [
        include_bytes!("../../tests/fixtures/meta.mat"),
        include_bytes!("../../tests/fixtures/meta_plain.mat"),
    ];

    const FIELDS: [&str; 3] = ["WNID", "ILSVRC2012_ID", "children"];

    #[test]
    fn structs_are_what_scipy_wrote() {
        for file in FILES {
            let found = structs(file, "synsets", FIELDS).expect("valid");
            let row =
                |synset: &str, number: f64| [Value::Text(synset.into()), Value::Number(number), Value::Other];
            let expected = [
                ("n01514668", 3.0),
                ("n01514859", 1.0),
                ("n01440764", 2.0),
                ("n01503061", 1001.0),
                ("n00001740", 1002.0),
            ];
            assert_eq!(found, expected.map(|(synset, number)| row(synset, number)));
            let words = structs(file, "synsets", ["words", "num_train_images"]).expect("valid");
            assert_eq!(words[2], [Value::Text("tench, Tinca tinca".into()), Value::Number(1300.0)]);
            assert_eq!(structs(file, "synset", FIELDS), Err("has no `synset`".into()));
            let error = structs(file, "synsets", ["wnid"]).expect_err("refused");
            assert!(error.contains("without the field `wnid`"), "{error}");
        }
        let error = structs(FILES[1], "about", FIELDS).expect_err("refused");
        assert!(error.contains("no array of structs"), "{error}");
    }

    /// Whatever is cut off or changed, it is an error or another value, and never the end of the program.
    #[test]
    fn damaged_files_never_panic() {
        for file in FILES {
            for length in 0..file.len() {
                let found = structs(&file[..length], "synsets", FIELDS);
                // Of the last array some zeros may be missing.
                assert!(found.is_err() || length + 8 > file.len(), "{length}");
            }
            for at in 0..file.len() {
                for change in [1, 0x55, 0x80, 0xff] {
                    let mut changed = file.to_vec();
                    changed[at] ^= change;
                    let _ = structs(&changed, "synsets", FIELDS);
                }
            }
        }
        let error = |bytes: &[u8]| structs(bytes, "synsets", FIELDS).expect_err("refused");
        assert!(error(b"Dear all").contains("fewer than 128 bytes"));
        assert!(error(&[b'x'; 200]).contains("no MATLAB file of level 5"));
        let hdf5 = [&b"MATLAB 7.3 MAT-file"[..], &[b' '; 200]].concat();
        assert!(error(&hdf5).contains("save -v7"));
    }
}
