// Requests to the server: one place for the key of this run of the program, and errors with a kind.

const KEPT = "hybridseg-key";

/** Keep the key where all tabs of this server find it, and no server of another port. */
export function keepKey(key) {
  localStorage.setItem(KEPT, key);
}

/** A failed request; `kind` comes from the server, or is "network" where no answer came. */
export class ApiError extends Error {
  constructor(message, kind) {
    super(message);
    this.kind = kind;
  }
}

/** The path of an image, or of a part of it. */
export function imagePath(id, ...parts) {
  return ["/api/images", encodeURIComponent(id), ...parts].join("/");
}

/** Talks to the server that the page came from. */
export class Api {
  #key = localStorage.getItem(KEPT) ?? "";
  #onAnswer;

  /** `onAnswer()` is called after every request that succeeded. */
  constructor(onAnswer = () => {}) {
    this.#onAnswer = onAnswer;
  }

  /** Fetch the session. */
  openSession() {
    return this.get("/api/session");
  }

  /** Identifies one run of the program. */
  get run() {
    return this.#key;
  }

  /** Get JSON. */
  async get(path, signal) {
    const answer = await this.#send(path, { signal, cache: "no-store" });
    return answer.json();
  }

  /** Get a file, for example a tile. */
  async getBlob(path, signal) {
    const answer = await this.#send(path, { signal });
    return answer.blob();
  }

  /** Get a small picture of an image, {blob} or {fault}: why there is none. */
  async getThumb(id) {
    const answer = await this.#send(imagePath(id, "thumbnail"), {});
    return answer.status === 204 ? { fault: decodeURIComponent(answer.headers.get("X-Fault")) } : { blob: await answer.blob() };
  }

  /** Get a file with its name, {blob, name}. */
  async getFile(path) {
    const answer = await this.#send(path, { cache: "no-store" });
    return { blob: await answer.blob(), name: decodeURIComponent(answer.headers.get("X-File-Name")) };
  }

  /** Post JSON, get JSON. */
  async post(path, body) {
    const answer = await this.#change("POST", path, body);
    return answer.json();
  }

  /** Post JSON, get a picture {blob, pixels, teachers} with the pixels of each class and who taught, or null where there is none. */
  async postForPicture(path, body, signal) {
    const answer = await this.#change("POST", path, body, signal);
    if (answer.status === 204) return null;
    const pixels = answer.headers.get("X-Class-Pixels").split(",").map(Number);
    const teachers = answer.headers.get("X-Teachers").split(",").filter(Boolean);
    return { blob: await answer.blob(), pixels, teachers, isLast: answer.headers.get("X-Is-Last") === "1" };
  }

  /** Post JSON, get a map of whole numbers {values, shape}, or null where there is none. */
  async postForMap(path, body, signal) {
    const answer = await this.#change("POST", path, body, signal);
    if (answer.status === 204) return null;
    const shape = answer.headers.get("X-Map-Shape").split(",").map(Number);
    return { values: new Uint16Array(await answer.arrayBuffer()), shape };
  }

  /** Put JSON, get JSON. */
  async put(path, body) {
    const answer = await this.#change("PUT", path, body);
    return answer.json();
  }

  /** Post a file as it is, get JSON. */
  async upload(path, file) {
    const headers = { "Content-Type": "application/octet-stream" };
    const answer = await this.#send(path, { method: "POST", body: file, headers });
    return answer.json();
  }

  #change(method, path, body, signal) {
    const headers = { "Content-Type": "application/json" };
    return this.#send(path, { method, body: JSON.stringify(body), signal, headers });
  }

  async #send(path, options) {
    const sign = () => ({ ...options, headers: { ...options.headers, "X-Page-Key": this.#key } });
    const answer = await send(path, sign()).catch((error) => {
      const kept = localStorage.getItem(KEPT) ?? "";
      if (error.kind !== "forbidden" || kept === this.#key) throw error;
      // The program was restarted, and another tab has opened its new address: only the key is old.
      this.#key = kept;
      return send(path, sign());
    });
    this.#onAnswer();
    return answer;
  }
}

async function send(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer.", "network");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const kind = told.kind ?? (answer.status === 403 ? "forbidden" : "failed");
  throw new ApiError(told.error ?? `The server answered with the error ${answer.status}.`, kind);
}
