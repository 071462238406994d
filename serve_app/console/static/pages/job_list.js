// Holds the jobs that the table shows: the pages that were read so far, with all changes that have arrived since.

import * as api from "../api.js";

const PAGE = 100;
/** Maximum number of jobs in the table. */
const MOST = 10_000;
/** Maximum number of pages that a refresh reads. */
const REFRESHED_PAGES = 10;

export class JobList {
  #jobs = [];
  #after = null;
  #more = true;
  #reading = false;
  #stopped = false;
  #late = null;

  /** @param show is called with the jobs, the newest first, and true if more can be read. */
  constructor(filters, signal, show) {
    Object.assign(this, { filters, signal, show });
  }

  /** Ignore all answers that arrive after this call. */
  stop() {
    this.#stopped = true;
  }

  /** Read the next page of older jobs, unless there is none. */
  async more() {
    if (this.#reading || !this.#more || this.#stopped) return;
    this.#reading = true;
    try {
      const page = await this.#page(this.#after);
      this.#after = page.last_id;
      this.#more = page.has_more && this.#jobs.length + page.data.length < MOST;
      const known = new Set(this.#jobs.map((job) => job.id));
      this.#keep([...this.#jobs, ...page.data.filter((job) => !known.has(job.id))]);
    } finally {
      this.#reading = false;
    }
  }

  /**
   * Read the newest pages again, because changes may have been missed. Older rows stay, so the scroll position of
   * the table stays, too.
   */
  async refresh() {
    const late = [];
    this.#late = late; // collects the changes that arrive during the reads, because they are newer than the pages
    const fresh = [];
    let more = true;
    try {
      for (let page = 0; more && page < REFRESHED_PAGES && (page === 0 || fresh.length < this.#jobs.length); page += 1) {
        const answer = await this.#page(fresh.at(-1)?.id ?? null);
        fresh.push(...answer.data);
        more = answer.has_more;
      }
    } catch (error) {
      if (this.#late === late) this.#late = null; // so that it does not collect changes forever
      throw error;
    }
    if (this.#late !== late) return; // because another refresh began later, and its result is newer
    this.#late = null;
    const ids = new Set(fresh.map((job) => job.id));
    const older = more ? this.#jobs.filter((job) => !ids.has(job.id) && job.created_at < fresh.at(-1).created_at) : [];
    if (older.length === 0) [this.#after, this.#more] = [fresh.at(-1)?.id ?? null, more];
    this.#keep([...fresh, ...older]);
    this.apply(late);
  }

  /** Apply the new states of jobs. Jobs that no longer match the filters leave the list. */
  apply(changed) {
    this.#late?.push(...changed);
    const states = new Map(changed.map((job) => [job.id, job]));
    const jobs = [];
    for (const job of this.#jobs) {
      const now = states.get(job.id) ?? job;
      states.delete(job.id);
      if (this.#matches(now)) jobs.push(now);
    }
    // While pages are left, a job that is older than the last job of the table is not added, because it comes
    // with its page.
    const oldest = this.#more ? (this.#jobs.at(-1)?.created_at ?? Infinity) : -Infinity;
    const added = [...states.values()].filter((job) => this.#matches(job) && job.created_at >= oldest);
    if (added.length > 0) {
      jobs.push(...added);
      jobs.sort((one, other) => other.created_at - one.created_at || (one.id < other.id ? 1 : -1));
    }
    this.#keep(jobs);
  }

  #keep(jobs) {
    if (this.#stopped) return;
    this.#jobs = jobs.slice(0, MOST);
    this.show(this.#jobs, this.#more);
  }

  #page(after) {
    return api.get("v1/jobs", { ...this.filters, limit: PAGE, after }, { signal: this.signal });
  }

  #matches(job) {
    const { state, kind, priority_class: ofClass, error_code: code, subject } = this.filters;
    return (!state || job.state === state) && (!kind || job.kind === kind)
      && (!ofClass || job.priority_class === ofClass) && (!subject || job.subject === subject)
      && (!code || job.error?.code === code);
  }
}
