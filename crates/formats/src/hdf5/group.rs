//! Groups with symbol tables.
//!
//! ```text
//! symbol table: B-tree, heap      TREE level n ─▶ TREE level n−1 ─▶ … ─▶ SNOD [offset of the name in the heap, object header]
//! ```
//! A B-tree lists members by the bytes of their names: `conv2d_10` comes before `conv2d_2`.

use super::object::Kind;
use super::{Hdf5, Object, unsupported};
use crate::Problem;
use crate::input::Fields;

/// Kind of a link that is a name only.
const SOFT_LINK: u32 = 2;

/// Name of a member and the address of its header.
pub(crate) type Link = (String, u64);

impl Hdf5 {
    /// Members of the group `object`.
    pub(crate) fn members(&mut self, object: &Object) -> Result<Vec<Link>, Problem> {
        let Some(table) = object.message(Kind::SymbolTable) else {
            if object.message(Kind::Links).is_some() {
                return Err(unsupported("groups of the new kind"));
            }
            return Ok(Vec::new());
        };
        let mut table = Fields::new(table);
        let (tree, heap) = (table.u64()?, table.u64()?);
        let names = self.local_heap(heap)?;
        let mut links = Vec::new();
        self.tree(tree, None, &names, &mut links)?;
        Ok(links)
    }

    fn local_heap(&mut self, address: u64) -> Result<Vec<u8>, Problem> {
        let header = self.record(address, 32)?;
        if !header.starts_with(b"HEAP") {
            return Err(Problem::damaged(format!("there is no heap of names at {address}")));
        }
        let mut fields = Fields::new(&header[8..]);
        let (length, _, start) = (fields.u64()?, fields.u64()?, fields.u64()?);
        self.record(start, length)
    }

    /// The node at `address`, whose level must be the one that its parent expects.
    fn tree(
        &mut self,
        address: u64,
        level: Option<u8>,
        names: &[u8],
        links: &mut Vec<Link>,
    ) -> Result<(), Problem> {
        let node = self.record(address, 24)?;
        let mut fields = Fields::new(&node);
        let (signature, kind, found) = (fields.take(4)?, fields.u8()?, fields.u8()?);
        if signature != b"TREE" || kind != 0 || level.is_some_and(|level| level != found) {
            return Err(Problem::damaged(format!("there is no node of a group at {address}")));
        }
        let count = fields.u16()?;
        let children = self.record(address.saturating_add(24), 8 + 16 * u64::from(count))?;
        let mut fields = Fields::new(&children);
        for _ in 0..count {
            fields.u64()?;
            let child = fields.u64()?;
            match found.checked_sub(1) {
                Some(below) => self.tree(child, Some(below), names, links)?,
                None => self.symbols(child, names, links)?,
            }
        }
        Ok(())
    }

    fn symbols(&mut self, address: u64, names: &[u8], links: &mut Vec<Link>) -> Result<(), Problem> {
        let header = self.record(address, 8)?;
        if !header.starts_with(b"SNOD") {
            return Err(Problem::damaged(format!("there are no members of a group at {address}")));
        }
        let count = Fields::new(&header[6..]).u16()?;
        let entries = self.record(address.saturating_add(8), 40 * u64::from(count))?;
        let mut fields = Fields::new(&entries);
        for _ in 0..count {
            let (name, header, kind) = (fields.u64()?, fields.u64()?, fields.u32()?);
            fields.take(20)?;
            if kind != SOFT_LINK {
                links.push((self.name(names, name)?, header));
            }
        }
        Ok(())
    }

    fn name(&mut self, names: &[u8], at: u64) -> Result<String, Problem> {
        let rest = usize::try_from(at).ok().and_then(|at| names.get(at..));
        let name = rest.and_then(|rest| rest.split(|&byte| byte == 0).next());
        let name =
            name.ok_or_else(|| Problem::damaged("a member of a group has its name outside the heap"))?;
        // A heap of one long name serves any number of members.
        self.charge(name.len() as u64)?;
        Ok(String::from_utf8_lossy(name).into_owned())
    }
}
