//! A pickle, read without Python.
//!
//! ```text
//! opcodes ─▶ stack of indices, marks, memo ─ STOP ─▶ the index of the object;   GLOBAL name ─▶ a stand-in or a refusal
//! ```
//! A pickle is a program that builds an object and may call any function on the way. This machine has the opcodes that
//! build; for GLOBAL it knows the few names of `value::global`, and calls only functions of `rebuild`, its own. A file that
//! calls, builds or merely mentions anything else is refused by the name of that thing, as `torch.load(weights_only=True)`
//! does. Memory is bounded by [`LONGEST`], and what short opcodes make of long objects by [`MOST`].

use std::collections::HashMap;
use std::io::{BufRead, Read};

use super::rebuild;
use super::value::{Id, Node, Values, global};
use crate::Problem;

/// Longest pickle, in bytes: a checkpoint of ten thousand tensors has one of two million.
pub(crate) const LONGEST: u64 = 16 << 20;
/// Most bytes that the objects of one file may have; their vectors, which grow by doubling, take up to three times as much,
/// which with [`LONGEST`] stays below 256 MiB. A checkpoint of ten thousand tensors has ten million.
const MOST: usize = 64 << 20;
/// Longest line of the text opcodes.
const LONGEST_LINE: u64 = 64 << 10;

/// Reads one pickle off `input`, up to and including its STOP.
pub(crate) fn read(input: &mut impl BufRead, values: &mut Values) -> Result<Id, Problem> {
    let mut machine = Machine {
        input: input.take(LONGEST),
        values,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        foreign: None,
    };
    while machine.step()? {
        let waiting = (machine.stack.len() + machine.marks.len()) * size_of::<Id>();
        if machine.values.cost + waiting > MOST {
            return Err(Problem::damaged("its pickle makes more objects than any checkpoint has"));
        }
    }
    if let Some(name) = machine.foreign {
        return Err(Problem::Refused(format!(
            "it refers to `{name}`, which is neither a tensor nor a plain value; {}",
            rebuild::ADVICE
        )));
    }
    machine.stack.pop().ok_or_else(empty)
}

struct Machine<'a, R> {
    input: std::io::Take<&'a mut R>,
    values: &'a mut Values,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// First unknown name that was mentioned.
    foreign: Option<String>,
}

fn empty() -> Problem {
    Problem::damaged("its pickle takes more from the stack than it put there")
}

impl<R: BufRead> Machine<'_, R> {
    /// Carries out one opcode; false after STOP.
    fn step(&mut self) -> Result<bool, Problem> {
        match self.byte()? {
            b'.' => return Ok(false),
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => self.stack.push(*self.stack.last().ok_or_else(empty)?),
            b'N' => self.push(Node::Plain),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'K' => self.integer::<1>()?,
            b'M' => self.integer::<2>()?,
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()));
            }
            0x8a => {
                let length = self.byte()?;
                self.long(length.into())?;
            }
            0x8b => {
                let length = self.length::<4>()?;
                self.long(length)?;
            }
            b'I' | b'L' => self.decimal()?,
            b'F' => {
                self.line()?;
                self.push(Node::Plain);
            }
            b'G' => {
                self.skip(8)?;
                self.push(Node::Plain);
            }
            b'X' | b'T' => self.text::<4>()?,
            0x8c | b'U' => self.text::<1>()?,
            0x8d => self.text::<8>()?,
            b'V' => {
                let text = self.line()?;
                self.push(Node::Text(text));
            }
            b'C' => self.bytes::<1>()?,
            b'B' => self.bytes::<4>()?,
            0x8e | 0x96 => self.bytes::<8>()?,
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::List(Vec::new())),
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.since_mark()?;
                self.push(Node::Tuple(items));
            }
            b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Node::List(items));
            }
            b'd' => {
                self.push(Node::Dict(Vec::new()));
                let dict = self.pop()?;
                let items = self.since_mark()?;
                self.stack.push(dict);
                self.set_items(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(&items)?;
            }
            b'q' => {
                let at = self.byte()?;
                self.remember(at.into())?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.array()?);
                self.remember(at)?;
            }
            b'p' => {
                let at = self.index()?;
                self.remember(at)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let at = self.byte()?;
                self.recall(at.into())?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.array()?);
                self.recall(at)?;
            }
            b'g' => {
                let at = self.index()?;
                self.recall(at)?;
            }
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.global(&name);
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.values.get(module), self.values.get(name)) {
                    (Node::Text(module), Node::Text(name)) => {
                        let name = format!("{module}.{name}");
                        self.global(&name);
                    }
                    _ => {
                        return Err(Problem::damaged(
                            "its pickle names a class by something that is no text",
                        ));
                    }
                }
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let result = rebuild::call(self.values, function, arguments)?;
                self.stack.push(result);
            }
            b'b' => {
                let _state = self.pop()?;
                rebuild::set_state(self.values, *self.stack.last().ok_or_else(empty)?)?;
            }
            opcode @ (0x81 | 0x92) => {
                if opcode == 0x92 {
                    let _keywords = self.pop()?;
                }
                let (_arguments, class) = (self.pop()?, self.pop()?);
                let made = rebuild::instance(self.values, class)?;
                self.push(made);
            }
            b'i' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                return Err(rebuild::code(&name));
            }
            b'o' => {
                let items = self.since_mark()?;
                let made = rebuild::instance(self.values, *items.first().ok_or_else(empty)?)?;
                self.push(made);
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = rebuild::persistent(self.values, id)?;
                self.push(storage);
            }
            opcode => {
                return Err(Problem::damaged(format!(
                    "its pickle has the opcode {opcode:#04x}, which PyTorch does not write"
                )));
            }
        }
        Ok(true)
    }

    fn push(&mut self, node: Node) {
        let id = self.values.push(node);
        self.stack.push(id);
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        if self.marks.last().is_some_and(|&height| height >= self.stack.len()) {
            return Err(empty());
        }
        self.stack.pop().ok_or_else(empty)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let height = self.marks.pop().ok_or_else(empty)?;
        Ok(self.stack.split_off(height.min(self.stack.len())))
    }

    fn tuple(&mut self, count: usize) -> Result<(), Problem> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Problem> {
        let list = *self.stack.last().ok_or_else(empty)?;
        self.values.cost += size_of_val(items);
        match self.values.get_mut(list) {
            Node::List(all) => all.extend(items),
            _ => return Err(Problem::damaged("its pickle appends to something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let dict = *self.stack.last().ok_or_else(empty)?;
        self.values.cost += size_of_val(items);
        let Node::Dict(all) = self.values.get_mut(dict) else {
            return Err(Problem::damaged("its pickle sets items of something that is no dictionary"));
        };
        let (pairs, rest) = items.as_chunks::<2>();
        all.extend(pairs.iter().map(|&[key, value]| (key, value)));
        if rest.is_empty() { Ok(()) } else { Err(Problem::damaged("its pickle has a key without a value")) }
    }

    fn remember(&mut self, at: u32) -> Result<(), Problem> {
        // A table of hashes is up to half empty.
        self.values.cost += 2 * size_of::<(u32, Id)>();
        self.memo.insert(at, *self.stack.last().ok_or_else(empty)?);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Result<(), Problem> {
        let id = self.memo.get(&at).ok_or_else(|| {
            Problem::damaged(format!("its pickle recalls object {at}, which it has not remembered"))
        })?;
        self.stack.push(*id);
        Ok(())
    }

    fn global(&mut self, name: &str) {
        let node = global(name);
        if let Node::Foreign(name) = &node {
            self.foreign.get_or_insert_with(|| name.clone());
        }
        self.push(node);
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> Result<(), Problem> {
        self.exactly(count as u64).map(drop)
    }

    /// A length of `N` bytes.
    fn length<const N: usize>(&mut self) -> Result<u64, Problem> {
        Ok(self.array::<N>()?.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    fn exactly(&mut self, length: u64) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        let found = self.input.by_ref().take(length).read_to_end(&mut bytes)? as u64;
        if found == length {
            return Ok(bytes);
        }
        Err(Problem::damaged(format!(
            "its pickle claims {length} bytes and has {found}: is the download complete?"
        )))
    }

    fn line(&mut self) -> Result<String, Problem> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
        if bytes.pop() != Some(b'\n') {
            return Err(Problem::damaged("a line of its pickle does not end"));
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\r').into())
    }

    fn index(&mut self) -> Result<u32, Problem> {
        let line = self.line()?;
        line.parse().map_err(|_| {
            Problem::damaged(format!("its pickle remembers an object as `{line}`, which is no number"))
        })
    }

    fn integer<const N: usize>(&mut self) -> Result<(), Problem> {
        let value = self.length::<N>()?;
        self.push(Node::Int(value as i64));
        Ok(())
    }

    /// A little-endian number in two's complement; beyond 64 bits nothing here needs its value.
    fn long(&mut self, length: u64) -> Result<(), Problem> {
        let bytes = self.exactly(length)?;
        self.push(if bytes.len() > 8 {
            Node::Text(bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect())
        } else {
            let fill = if bytes.last().is_some_and(|&top| top >= 0x80) { 0xff } else { 0 };
            let mut wide = [fill; 8];
            wide[..bytes.len()].copy_from_slice(&bytes);
            Node::Int(i64::from_le_bytes(wide))
        });
        Ok(())
    }

    fn decimal(&mut self) -> Result<(), Problem> {
        let line = self.line()?;
        self.push(match (line.as_str(), line.trim_end_matches('L').parse()) {
            ("00", _) => Node::Bool(false),
            ("01", _) => Node::Bool(true),
            (_, Ok(value)) => Node::Int(value),
            (_, Err(_)) => return Err(Problem::damaged(format!("its pickle has the number `{line}`"))),
        });
        Ok(())
    }

    fn text<const N: usize>(&mut self) -> Result<(), Problem> {
        let length = self.length::<N>()?;
        let bytes = self.exactly(length)?;
        self.push(Node::Text(String::from_utf8_lossy(&bytes).into()));
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<(), Problem> {
        let length = self.length::<N>()?;
        self.exactly(length)?;
        self.push(Node::Plain);
        Ok(())
    }
}
