// The pages of the console, in the order of the navigation. `icon` is the path of an SVG in a square of 24.

export const PAGES = [
  { name: "now", title: "Now", icon: "M3 12h4l3-8 4 16 3-8h4", load: () => import("./pages/now.js") },
  { name: "jobs", title: "Jobs", icon: "M4 6h16M4 12h16M4 18h10", load: () => import("./pages/jobs.js") },
];
