//! The StaticFrame frame that an archive holds, as its member `__meta__.json` describes it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::npy::NpyHeader;
use crate::ui::human::Escaped;

/// The member that describes the frame.
pub(super) const META: &str = "__meta__.json";

/// The longest [`META`] to read, in bytes: far more than StaticFrame writes, yet little memory once
/// parsed.
pub(super) const META_MAX: u64 = 1 << 20;

/// A StaticFrame frame.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Frame {
    /// The JSON value that StaticFrame wrote: null for no name, dates as Python's `repr`.
    name: Value,
    /// The numbers of rows and columns; `None` if the shapes of the arrays do not say.
    shape: Option<[u64; 2]>,
    /// The number of arrays that hold the values.
    blocks: u64,
    /// The labels of the rows.
    index: Axis,
    /// The labels of the columns.
    columns: Axis,
}

/// The labels of the rows or the columns.
#[derive(Debug, PartialEq, Serialize)]
struct Axis {
    name: Value,
    /// The StaticFrame class, such as `IndexHierarchy`.
    #[serde(rename = "type")]
    class: String,
    /// The number of labels of each row or column.
    depth: u64,
    /// The class of each depth; empty if there is only one.
    types: Vec<String>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "__names__")]
    names: [Value; 3],
    #[serde(rename = "__types__")]
    types: [String; 2],
    #[serde(rename = "__types_index__", default)]
    types_index: Vec<String>,
    #[serde(rename = "__types_columns__", default)]
    types_columns: Vec<String>,
    /// The number of blocks, the depth of the index and the depth of the columns.
    #[serde(rename = "__depths__")]
    depths: [u64; 3],
}

impl Frame {
    /// Parses `meta`, the contents of [`META`]; `None` if StaticFrame would not read it. `header`
    /// returns the npy header of the array with the given file name.
    pub(super) fn parse<E>(
        meta: &[u8],
        header: impl FnMut(&str) -> Result<Option<NpyHeader>, E>,
    ) -> Result<Option<Self>, E> {
        let Ok(meta) = serde_json::from_slice::<Meta>(meta) else {
            return Ok(None);
        };
        let [name, index_name, columns_name] = meta.names;
        let [index_class, columns_class] = meta.types;
        let [blocks, index_depth, columns_depth] = meta.depths;
        Ok(Some(Self {
            name,
            shape: shape(blocks, header)?,
            blocks,
            index: Axis {
                name: index_name,
                class: index_class,
                depth: index_depth,
                types: meta.types_index,
            },
            columns: Axis {
                name: columns_name,
                class: columns_class,
                depth: columns_depth,
                types: meta.types_columns,
            },
        }))
    }
}

/// The shape of a frame whose blocks stand side by side, each of them one column or several. A frame
/// without blocks still has as many rows and columns as labels.
fn shape<E>(
    blocks: u64,
    mut header: impl FnMut(&str) -> Result<Option<NpyHeader>, E>,
) -> Result<Option<[u64; 2]>, E> {
    if blocks == 0 {
        let mut labels = |axis| {
            let labels = header(&format!("__values_{axis}_0__.npy"))?;
            Ok(labels.map_or(Some(0), |labels| labels.shape.first().copied()))
        };
        let (rows, columns) = (labels("index")?, labels("columns")?);
        return Ok(rows.zip(columns).map(|(rows, columns)| [rows, columns]));
    }
    let mut shape = None;
    for block in 0..blocks {
        let array = header(&format!("__blocks_{block}__.npy"))?;
        let (rows, columns) = match array.as_ref().map(|array| &array.shape[..]) {
            Some(&[rows]) => (rows, 1),
            Some(&[rows, columns]) => (rows, columns),
            _ => return Ok(None),
        };
        let [all_rows, all_columns] = shape.unwrap_or([rows, 0]);
        shape = all_columns
            .checked_add(columns)
            .filter(|_| rows == all_rows)
            .map(|columns| [rows, columns]);
        if shape.is_none() {
            return Ok(None);
        }
    }
    Ok(shape)
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("frame")?;
        match &self.name {
            Value::Null => {}
            Value::String(name) => write!(f, " \"{}\"", Escaped(name.as_bytes()))?,
            name => write!(f, " {}", Escaped(name.to_string().as_bytes()))?,
        }
        match self.shape {
            Some([rows, columns]) => write!(f, ": shape {rows},{columns}")?,
            None => f.write_str(": shape not known")?,
        }
        write!(f, "; index {}; columns {}", self.index, self.columns)
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = Escaped(self.class.as_bytes());
        write!(f, "{class}, depth {}", self.depth)?;
        for (at, class) in self.types.iter().enumerate() {
            let before = if at == 0 { " (" } else { ", " };
            write!(f, "{before}{}", Escaped(class.as_bytes()))?;
        }
        f.write_str(if self.types.is_empty() { "" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The frame that `meta` describes, beside arrays of these names and shapes.
    fn frame(meta: &str, arrays: &[(&str, &[u64])]) -> Option<Frame> {
        let header = |name: &str| {
            let array = arrays.iter().find(|(array, _)| *array == name);
            Ok::<_, Infallible>(array.map(|(_, shape)| NpyHeader {
                version: (1, 0),
                descr: "<f8".into(),
                items: None,
                fortran_order: false,
                shape: shape.to_vec(),
                literal_len: 118,
                data_offset: 128,
            }))
        };
        match Frame::parse(meta.as_bytes(), header) {
            Ok(frame) => frame,
        }
    }

    fn with_blocks(blocks: u64) -> String {
        format!(
            r#"{{"__names__": [null, null, null], "__types__": ["Index", "Index"],
                 "__depths__": [{blocks}, 1, 1]}}"#
        )
    }

    fn shape(blocks: u64, arrays: &[(&str, &[u64])]) -> Option<[u64; 2]> {
        frame(&with_blocks(blocks), arrays).unwrap().shape
    }

    #[test]
    fn a_frame_has_a_name_a_shape_types_and_depths() {
        let meta = r#"{"__names__": [["frame", 1], "station", null],
            "__types__": ["IndexHierarchy", "Index"], "__types_index__": ["Index", "IndexDate"],
            "__depths__": [2, 2, 1]}"#;
        let frame = frame(
            meta,
            &[("__blocks_0__.npy", &[5]), ("__blocks_1__.npy", &[5, 3])],
        );
        let frame = frame.unwrap();
        assert_eq!((frame.shape, frame.blocks), (Some([5, 4]), 2));
        assert_eq!(frame.index.name, "station");
        assert_eq!(
            frame.to_string(),
            "frame [\"frame\",1]: shape 5,4; index IndexHierarchy, depth 2 (Index, IndexDate); \
             columns Index, depth 1"
        );
    }

    #[test]
    fn names_are_escaped() {
        let meta = with_blocks(1).replacen("null", r#""a\u001b\\b""#, 1);
        let frame = frame(&meta, &[]).unwrap();
        assert_eq!(
            frame.to_string(),
            "frame \"a\\u{1b}\\\\b\": shape not known; index Index, depth 1; columns Index, depth 1"
        );
    }

    #[test]
    fn without_blocks_the_labels_give_the_shape() {
        let index: (&str, &[u64]) = ("__values_index_0__.npy", &[3]);
        let columns: (&str, &[u64]) = ("__values_columns_0__.npy", &[2]);
        assert_eq!(shape(0, &[index, columns]), Some([3, 2]));
        assert_eq!(shape(0, &[index]), Some([3, 0]));
        assert_eq!(shape(0, &[]), Some([0, 0]));
        assert_eq!(shape(0, &[("__values_index_0__.npy", &[])]), None);
    }

    #[test]
    fn missing_or_mismatched_blocks_give_no_shape() {
        let first: (&str, &[u64]) = ("__blocks_0__.npy", &[3, u64::MAX]);
        assert_eq!(shape(1, &[first]), Some([3, u64::MAX]));
        assert_eq!(shape(u64::MAX, &[first]), None);
        for second in [&[3][..], &[4], &[], &[3, 1, 1]] {
            assert_eq!(shape(2, &[first, ("__blocks_1__.npy", second)]), None);
        }
    }

    #[test]
    fn metadata_not_from_staticframe_is_no_frame() {
        for meta in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"__names__": [null], "__types__": ["Index", "Index"], "__depths__": [1, 1, 1]}"#,
            &with_blocks(1).replace("[1, 1, 1]", "[-1, 1, 1]"),
            &"[".repeat(100_000),
        ] {
            assert_eq!(frame(meta, &[]), None, "{meta}");
        }
    }
}
