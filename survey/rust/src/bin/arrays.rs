//! arrays LIBRARY write ARCHIVE | read FILE: a .npz of three arrays, or a .npy as one line of JSON
use std::error::Error;
use std::fs::File;
use std::io::BufReader;

use candle_core::{DType, Device, Tensor};
use ndarray::{Array0, Array1, Array2, ArrayD};
use npyz::WriterBuilder;
use num_complex::Complex;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, library, action, path] = arguments.as_slice() else {
        return Err("usage: arrays LIBRARY write|read PATH".into());
    };
    match (library.as_str(), action.as_str()) {
        ("ndarray-npy", "write") => write_ndarray(path),
        ("npyz", "write") => write_npyz(path),
        ("candle-core", "write") => write_candle(path),
        ("ndarray-npy", "read") => print(read_ndarray(path)?),
        ("npyz", "read") => print(read_npyz(path)?),
        ("candle-core", "read") => print(read_candle(path)?),
        _ => Err("no such library".into()),
    }
}

/// A shape, the values in the order in which they are handed out, and whether that is said to be Fortran order.
type Array = (Vec<usize>, Vec<String>, bool);

fn print((shape, values, fortran): Array) -> Outcome {
    let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    println!(
        "{{\"shape\": {shape:?}, \"fortran\": {fortran}, \"values\": [{}]}}",
        values.join(", ")
    );
    Ok(())
}

fn x() -> Array2<f64> {
    Array2::from_shape_fn((300, 100), |(row, column)| (row * 100 + column) as f64)
}

fn y() -> Array1<i32> {
    Array1::from_iter(0..7)
}

fn write_ndarray(path: &str) -> Outcome {
    let mut npz = ndarray_npy::NpzWriter::new(File::create(path)?);
    npz.add_array("x", &x())?;
    npz.add_array("y", &y())?;
    npz.add_array("deep/z", &Array0::from_elem((), 2.5))?;
    npz.finish()?;
    Ok(())
}

fn write_npyz(path: &str) -> Outcome {
    let mut npz = npyz::npz::NpzWriter::create(path)?;
    let mut one = npz
        .array("x", Default::default())?
        .default_dtype()
        .shape(&[300, 100])
        .begin_nd()?;
    one.extend(x())?;
    one.finish()?;
    let mut two = npz
        .array("y", Default::default())?
        .default_dtype()
        .shape(&[7])
        .begin_nd()?;
    two.extend(y())?;
    two.finish()?;
    let mut three = npz
        .array("deep/z", Default::default())?
        .default_dtype()
        .shape(&[])
        .begin_nd()?;
    three.push(&2.5)?;
    three.finish()?;
    Ok(())
}

fn write_candle(path: &str) -> Outcome {
    let x = Tensor::from_iter(x(), &Device::Cpu)?.reshape((300, 100))?;
    let y = Tensor::from_iter(y(), &Device::Cpu)?;
    let z = Tensor::from_iter([2.5], &Device::Cpu)?.reshape(())?;
    Ok(Tensor::write_npz(
        &[("x", x), ("y", y), ("deep/z", z)],
        path,
    )?)
}

/// Tries each type of element in turn: the crate checks it against the header.
fn read_ndarray(path: &str) -> Outcome<Array> {
    macro_rules! try_types {
        ($($element:ty),*) => {
            $(match ndarray_npy::read_npy::<_, ArrayD<$element>>(path) {
                Ok(array) => return Ok((
                    array.shape().to_vec(),
                    array.iter().map(|value| value.to_string()).collect(),
                    false,
                )),
                Err(ndarray_npy::ReadNpyError::WrongDescriptor(_)) => {}
                Err(error) => return Err(error.into()),
            })*
        };
    }
    try_types!(
        f64,
        f32,
        i64,
        i32,
        i16,
        i8,
        u64,
        u32,
        u16,
        u8,
        bool,
        Complex<f32>,
        Complex<f64>
    );
    Err("no element type of the crate".into())
}

fn read_npyz(path: &str) -> Outcome<Array> {
    macro_rules! try_types {
        ($($element:ty),*) => {
            $({
                let file = npyz::NpyFile::new(BufReader::new(File::open(path)?))?;
                let shape = file.shape().iter().map(|length| *length as usize).collect();
                let fortran = file.order() == npyz::Order::Fortran;
                if let Ok(values) = file.try_data::<$element>() {
                    let values: Vec<$element> = values.collect::<Result<_, _>>()?;
                    return Ok((shape, values.iter().map(|value| value.to_string()).collect(), fortran));
                }
            })*
        };
    }
    try_types!(
        f64,
        f32,
        half::f16,
        i64,
        i32,
        i16,
        i8,
        u64,
        u32,
        u16,
        u8,
        bool,
        Complex<f32>,
        Complex<f64>,
        String
    );
    Err("no element type that was tried".into())
}

fn read_candle(path: &str) -> Outcome<Array> {
    let tensor = Tensor::read_npy(path)?;
    let flat = tensor.flatten_all()?;
    let values = match tensor.dtype() {
        DType::I64 => flat
            .to_vec1::<i64>()?
            .iter()
            .map(|value| value.to_string())
            .collect(),
        DType::U8 => flat
            .to_vec1::<u8>()?
            .iter()
            .map(|value| value.to_string())
            .collect(),
        _ => flat
            .to_dtype(DType::F64)?
            .to_vec1::<f64>()?
            .iter()
            .map(|value| value.to_string())
            .collect(),
    };
    Ok((tensor.dims().to_vec(), values, false))
}
