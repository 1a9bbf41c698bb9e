// What was dropped or chosen: archives, each sent as it is, and loose pictures with their captions, packed into one.

const ARCHIVE = /\.(zip|tar|tar\.gz|tgz|parquet)$/i;
const PICTURE = /\.(png|jpe?g|webp)$/i;
const CAPTION = /\.(txt|json)$/i;
const TABLE = /(^|\/)metadata\.(jsonl|csv)$/i;
const OTHER_TABLE = /\.(jsonl|csv)$/i;
const HIDDEN = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/i;

/** Return [{path, file}] of everything below what was dropped. */
export async function dropped(transfer) {
  // Entries and files can be had only until the event is over; only then may anything be waited for.
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry instanceof File) found.push({ path: entry.name, file: entry });
  else if (entry?.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    found.push({ path: entry.fullPath.replace(/^\//, ""), file });
  } else if (entry?.isDirectory) {
    const reader = entry.createReader();
    for (;;) { // a hundred at a time, until none is left
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const each of some) await walk(each, found);
    }
  }
}

/** Return the same of what a file field holds. */
export function chosen(input) {
  return [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** Part files into archives, loose pictures with what captions them, and what is left out. */
export function sorted(items) {
  const seen = items.filter(({ path }) => !HIDDEN.test(path));
  const archives = seen.filter(({ path }) => ARCHIVE.test(path));
  const pictures = seen.filter(({ path }) => PICTURE.test(path));
  const tables = seen.filter(({ path }) => TABLE.test(path));
  const sidecars = seen.filter(({ path }) => CAPTION.test(path));
  const tableLike = seen.filter(({ path }) => OTHER_TABLE.test(path) && !TABLE.test(path));
  const used = archives.length + pictures.length + tables.length + sidecars.length;
  const stems = new Set(sidecars.map(({ path }) => path.replace(CAPTION, "")));
  const bare = tables.length ? [] : pictures.filter(({ path }) => !stems.has(path.replace(PICTURE, "").replace(/\.loser$/i, "")));
  const loose = [...pictures, ...tables, ...sidecars];
  return { archives, pictures, tables, tableLike, loose, bare, left: seen.length - used };
}

/** Return what loose files are called together: by their folder, if they have one. */
export function nameOf(loose) {
  const roots = new Set(loose.map(({ path }) => (path.includes("/") ? path.split("/")[0] : "")));
  const [root] = roots;
  return `${roots.size === 1 && root ? root : "pictures"}.zip`;
}

/** Return captions beside pictures that have none, taken from the pictures' own names: red-apple.png is "red apple". */
export function captionsOf(bare) {
  return bare.map(({ path }) => {
    const stem = path.replace(PICTURE, "");
    const words = stem.split("/").at(-1).replace(/[_\-.]+/g, " ").trim();
    return { path: `${stem}.txt`, file: new File([words], "caption.txt", { lastModified: 0 }) };
  });
}

/** Say what is wrong with an archive as far as its name and first bytes tell; null: nothing. */
export async function wrongWith(file, { most, left }) {
  const size = (bytes) => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
  if (!file.size) return "it is empty";
  if (file.size > most) return `it has ${size(file.size)}, and this server takes files of ${size(most)} at most; split it`;
  if (left !== null && file.size > left) {
    return `it has ${size(file.size)}, and ${size(left)} of the project's storage are left; delete files, or ask for more`;
  }
  const start = new Uint8Array(await file.slice(0, 512).arrayBuffer());
  const begins = (text, at = 0) => [...text].every((letter, place) => start[at + place] === letter.charCodeAt(0));
  const known = begins("PK") || begins("PAR1") || (start[0] === 0x1f && start[1] === 0x8b) || begins("ustar", 257);
  return known ? null : "its first bytes are of no zip, tar, tar.gz or parquet file; pack it anew";
}
