// node archives.mjs LIBRARY write ARCHIVE FOLDER | read ARCHIVE FOLDER
import fs from 'fs';
import path from 'path';
import { pipeline } from 'stream/promises';

const NAMES = ['x.npy', 'y.npy', 'deep/z.npy'];
const [library, action, archive, folder] = process.argv.slice(2);

const load = (name) => fs.readFileSync(path.join(folder, name));
const save = (name, data) => {
  const file = path.join(folder, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, data);
};
const collect = async (stream) => Buffer.concat(await stream.toArray());

const libraries = {
  jszip: {
    async write(JSZip) {
      const zip = new JSZip();
      NAMES.forEach((name) => zip.file(name, load(name)));
      fs.writeFileSync(archive, await zip.generateAsync({ type: 'nodebuffer' }));
    },
    async read(JSZip) {
      const zip = await JSZip.loadAsync(fs.readFileSync(archive));
      for (const entry of Object.values(zip.files)) {
        if (!entry.dir) save(entry.name, await entry.async('nodebuffer'));
      }
    },
  },
  'jszip, streamed': {
    async write(JSZip) {
      const zip = new JSZip();
      NAMES.forEach((name) => zip.file(name, load(name)));
      const stream = zip.generateNodeStream({ streamFiles: true, compression: 'DEFLATE' });
      await pipeline(stream, fs.createWriteStream(archive));
    },
  },
  fflate: {
    write({ zipSync }) {
      const files = Object.fromEntries(NAMES.map((name) => [name, load(name)]));
      fs.writeFileSync(archive, zipSync(files, { level: 0 }));
    },
    read({ unzipSync }) {
      const files = unzipSync(fs.readFileSync(archive));
      Object.entries(files).forEach(([name, data]) => save(name, data));
    },
  },
  'fflate, streamed': {
    write({ Zip, ZipDeflate }) {
      const parts = [];
      const zip = new Zip((error, data) => {
        if (error) throw error;
        parts.push(data);
      });
      for (const name of NAMES) {
        const file = new ZipDeflate(name);
        zip.add(file);
        file.push(load(name), true);
      }
      zip.end();
      fs.writeFileSync(archive, Buffer.concat(parts));
    },
    read({ Unzip, UnzipInflate }) {
      const unzip = new Unzip((file) => {
        const parts = [];
        file.ondata = (error, data, last) => {
          if (error) throw error;
          parts.push(data);
          if (last) save(file.name, Buffer.concat(parts));
        };
        file.start();
      });
      unzip.register(UnzipInflate);
      unzip.push(fs.readFileSync(archive), true);
    },
  },
  archiver: {
    async write({ ZipArchive }) {
      const zip = new ZipArchive({ store: true });
      const done = pipeline(zip, fs.createWriteStream(archive));
      NAMES.forEach((name) => zip.append(load(name), { name }));
      await zip.finalize();
      await done;
    },
  },
  yazl: {
    async write({ default: { ZipFile } }) {
      const zip = new ZipFile();
      NAMES.forEach((name) => zip.addFile(path.join(folder, name), name, { compress: false }));
      zip.end();
      await pipeline(zip.outputStream, fs.createWriteStream(archive));
    },
  },
  yauzl: {
    async read({ default: yauzl }) {
      const zip = await new Promise((resolve, reject) =>
        yauzl.open(archive, { lazyEntries: true }, (error, file) => (error ? reject(error) : resolve(file))));
      await new Promise((resolve, reject) => {
        zip.on('error', reject);
        zip.on('end', resolve);
        zip.on('entry', (entry) => zip.openReadStream(entry, async (error, stream) => {
          if (error) return reject(error);
          try {
            save(entry.fileName, await collect(stream));
            zip.readEntry();
          } catch (failure) {
            reject(failure);
          }
        }));
        zip.readEntry();
      });
    },
  },
  'adm-zip': {
    write({ default: AdmZip }) {
      const zip = new AdmZip();
      NAMES.forEach((name) => zip.addFile(name, load(name)));
      zip.writeZip(archive);
    },
    read({ default: AdmZip }) {
      for (const entry of new AdmZip(archive).getEntries()) save(entry.entryName, entry.getData());
    },
  },
  '@zip.js/zip.js': {
    async write({ ZipWriter, Uint8ArrayReader, Uint8ArrayWriter }) {
      const zip = new ZipWriter(new Uint8ArrayWriter(), { level: 0 });
      for (const name of NAMES) await zip.add(name, new Uint8ArrayReader(load(name)));
      fs.writeFileSync(archive, await zip.close());
    },
    async read({ ZipReader, Uint8ArrayReader, Uint8ArrayWriter }) {
      const zip = new ZipReader(new Uint8ArrayReader(fs.readFileSync(archive)), { checkSignature: true });
      for (const entry of await zip.getEntries()) {
        if (!entry.directory) save(entry.filename, await entry.getData(new Uint8ArrayWriter()));
      }
    },
  },
  'client-zip': {
    async write({ downloadZip }) {
      const response = downloadZip(NAMES.map((name) => ({ name, input: load(name), lastModified: new Date() })));
      fs.writeFileSync(archive, Buffer.from(await response.arrayBuffer()));
    },
  },
  'do-not-zip': {
    write(module) {
      const files = NAMES.map((name) => ({ path: name, data: load(name) }));
      fs.writeFileSync(archive, module.toBuffer(files));
    },
  },
  '@endo/zip': {
    async write({ writeZip }) {
      const zip = writeZip();
      for (const name of NAMES) await zip.write(name, load(name));
      fs.writeFileSync(archive, await zip.snapshot());
    },
    async read({ ZipReader }) {
      const zip = new ZipReader(fs.readFileSync(archive));
      for (const name of zip.files.keys()) save(name, zip.read(name));
    },
  },
  uzip: {
    write({ default: UZIP }) {
      const files = Object.fromEntries(NAMES.map((name) => [name, new Uint8Array(load(name))]));
      fs.writeFileSync(archive, Buffer.from(UZIP.encode(files)));
    },
    read({ default: UZIP }) {
      const bytes = fs.readFileSync(archive);
      const files = UZIP.parse(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
      Object.entries(files).forEach(([name, data]) => save(name, data));
    },
  },
  pizzip: {
    write({ default: PizZip }) {
      const zip = new PizZip();
      NAMES.forEach((name) => zip.file(name, load(name)));
      fs.writeFileSync(archive, zip.generate({ type: 'nodebuffer' }));
    },
    read({ default: PizZip }) {
      const zip = new PizZip(fs.readFileSync(archive));
      for (const entry of Object.values(zip.files)) if (!entry.dir) save(entry.name, entry.asNodeBuffer());
    },
  },
  'node-stream-zip': {
    async read({ default: StreamZip }) {
      const zip = new StreamZip.async({ file: archive });
      for (const name of Object.keys(await zip.entries())) save(name, await zip.entryData(name));
      await zip.close();
    },
  },
  unzipper: {
    async read({ default: unzipper }) {
      const zip = await unzipper.Open.file(archive);
      for (const entry of zip.files) save(entry.path, await entry.buffer());
    },
  },
  'unzipper, streamed': {
    async read({ default: unzipper }) {
      const entries = fs.createReadStream(archive).pipe(unzipper.Parse({ forceStream: true }));
      for await (const entry of entries) save(entry.path, await entry.buffer());
    },
  },
  unzipit: {
    async read({ unzip }) {
      const bytes = fs.readFileSync(archive);
      const { entries } = await unzip(new Uint8Array(bytes));
      for (const entry of Object.values(entries)) {
        if (!entry.isDirectory) save(entry.name, Buffer.from(await entry.arrayBuffer()));
      }
    },
  },
};

const work = libraries[library];
const name = library.split(',')[0];
const module = await import(name);
await work[action](name === "jszip" ? module.default : module);
