// Photos in the browser: from files, the clipboard and the camera; and the crop of one that shows one face.

import { check } from './api.js';
import { open } from './dialog.js';
import { h } from './dom.js';

// The types that the service reads. A phone converts a HEIC where that is not among them, and then every browser
// can show it; elsewhere a file chooser would hide such photos.
const TYPES = 'image/jpeg,image/png,image/webp,image/avif,image/gif,image/bmp,image/tiff';
export const ACCEPT = matchMedia('(pointer: coarse)').matches ? TYPES : `${TYPES},image/heic,image/heif,.heic,.heif`;

// The margin on each side of the face, in parts of its longer side; and the longer side of the JPEG, in pixels.
const MARGIN = 0.8;
const LONGEST = 1600;

// By the first bytes: photos that the service reads and most browsers do not show.
const NOT_SHOWN = [
  ['HEIC', /^.{4}ftyp(he[iv][cmsx]|mif1|msf1)/s],
  ['TIFF', /^(II[*+]\0|MM\0[*+])/],
];

/**
 * {file, url, image, width, height, kind}; `image` is null when this browser cannot show the file, and `kind` says
 * what such a file is. Rejects when the file cannot be read.
 */
export async function load(file) {
  await check(file);
  const url = URL.createObjectURL(file);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    return { file, url, image, width: image.naturalWidth, height: image.naturalHeight, kind: null };
  } catch {
    return { file, url, image: null, width: 0, height: 0, kind: await kindOf(file) };
  }
}

async function kindOf(file) {
  const start = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  const [name] = NOT_SHOWN.find(([, pattern]) => pattern.test(start)) ?? ['this file'];
  return name;
}

/** The image files of a drop or of the clipboard; files without a type are left to the service. */
export const filesOf = (transfer) => [...(transfer?.files ?? [])];

/**
 * A JPEG of one face and its surroundings. Other faces in the crop are covered, so that the service takes
 * the intended one. Resolves to {file, box}: where the face is in it.
 */
export async function cutOut(photo, faces, index) {
  const [x1, y1, x2, y2] = faces[index].box;
  const margin = MARGIN * Math.max(x2 - x1, y2 - y1);
  const left = Math.max(0, Math.floor(x1 - margin));
  const top = Math.max(0, Math.floor(y1 - margin));
  const width = Math.min(photo.width, Math.ceil(x2 + margin)) - left;
  const height = Math.min(photo.height, Math.ceil(y2 + margin)) - top;
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = h('canvas', { width: Math.round(width * scale), height: Math.round(height * scale) });
  const context = canvas.getContext('2d');
  const within = ([a, b, c, d]) => [(a - left) * scale, (b - top) * scale, (c - left) * scale, (d - top) * scale];
  const paint = () => context.drawImage(photo.image, left, top, width, height, 0, 0, canvas.width, canvas.height);
  const box = within(faces[index].box);
  paint();
  context.fillStyle = '#808080';
  faces.forEach((face, other) => {
    if (other === index) return;
    const [a, b, c, d] = within(face.box);
    context.fillRect(a, b, c - a, d - b);
  });
  // Where faces overlap, this one stays whole.
  context.beginPath();
  context.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
  context.clip();
  paint();
  const blob = await new Promise((done) => { canvas.toBlob(done, 'image/jpeg', 0.95); });
  return { file: new File([blob], 'face.jpg', { type: 'image/jpeg' }), box };
}

/** The overlap of two boxes: intersection over union, 0 to 1. */
export function overlap(a, b) {
  const side = (n) => Math.max(0, Math.min(a[n + 2], b[n + 2]) - Math.max(a[n], b[n]));
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  const both = side(0) * side(1);
  return both / (area(a) + area(b) - both);
}

/** A photo from the camera as a File, or undefined. */
export async function photograph() {
  const none = (sentence) => open('No camera', () => h('p', {}, `${sentence} Choose a photo instead.`));
  if (!navigator.mediaDevices) return none('Browsers give a camera only to pages that come by https.');
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'user', width: { ideal: 1920 } } });
  } catch {
    return none('This browser gives the page no camera: there is none, or it was not allowed.');
  }
  try {
    return await open('Take a photo', ({ close }) => {
      const video = h('video', { autoplay: true, muted: true, playsInline: true, srcObject: stream });
      const take = async () => {
        const canvas = h('canvas', { width: video.videoWidth, height: video.videoHeight });
        canvas.getContext('2d').drawImage(video, 0, 0);
        const blob = await new Promise((done) => { canvas.toBlob(done, 'image/jpeg', 0.95); });
        close(new File([blob], 'camera.jpg', { type: 'image/jpeg' }));
      };
      const shutter = h('button', { type: 'button', className: 'primary', disabled: true, onclick: take,
        'data-first': '' }, 'Take the photo');
      video.addEventListener('loadeddata', () => { shutter.disabled = false; shutter.focus(); });
      return [video, h('div', { className: 'actions' }, shutter)];
    }, { wide: true });
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}
