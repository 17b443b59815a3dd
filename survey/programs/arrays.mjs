// node arrays.mjs LIBRARY write ARCHIVE | read FILE
import fs from 'fs';

const [library, action, file] = process.argv.slice(2);

// The version of tfjs-core that tfjs-npy brings asks for a page.
if (library === 'tfjs-npy') {
  globalThis.document = { createElement: () => ({ getContext: () => null }) };
  globalThis.window = globalThis;
}

const buffer = () => {
  const bytes = fs.readFileSync(file);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
};

const shapeOf = (value) => (Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : []);

const libraries = {
  npyjs: {
    read({ parse }) {
      const { data, shape, fortranOrder } = parse(buffer());
      return { shape, values: Array.from(data), fortran: fortranOrder };
    },
    async write({ dump }) {
      const { zipSync } = await import('fflate');
      const x = Float64Array.from({ length: 30000 }, (_, index) => index);
      const files = {
        'x.npy': new Uint8Array(dump(x, [300, 100])),
        'y.npy': new Uint8Array(dump(Int32Array.from([0, 1, 2, 3, 4, 5, 6]), [7])),
        'deep/z.npy': new Uint8Array(dump(Float64Array.from([2.5]), [])),
      };
      fs.writeFileSync(file, zipSync(files, { level: 0 }));
    },
  },
  'numpy-parser': {
    read({ fromArrayBuffer }) {
      const { data, shape } = fromArrayBuffer(buffer());
      return { shape, values: Array.from(data), fortran: false };
    },
  },
  npyz: {
    async read({ load }) {
      const nested = await load(file);
      const complex = /\/c(8|16)\.npy$/.test(file);
      let shape = shapeOf(nested);
      if (complex) shape = shape.slice(0, -1);
      return { shape, values: nested.flat(complex ? shape.length - 1 : Infinity), fortran: false };
    },
  },
  '@loaders.gl/textures': {
    async read({ NPYLoader }) {
      const { data, header } = await NPYLoader.parse(buffer());
      return { shape: header.shape, values: Array.from(data), fortran: header.fortran_order };
    },
  },
  'tfjs-npy': {
    read({ parse }) {
      const tensor = parse(buffer());
      return { shape: tensor.shape, values: Array.from(tensor.dataSync()), fortran: false };
    },
  },
};

const imported = await import(library);
const module = imported.default && !/npyjs|loaders/.test(library) ? imported.default : imported;
const answer = await libraries[library][action](module);
if (answer) {
  answer.values = answer.values.map((value) => (typeof value === 'bigint' ? value.toString() : value));
  fs.writeSync(1, `${JSON.stringify(answer)}\n`);
}
process.exit(0);
