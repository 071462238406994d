// The pages of the console, in the order of the navigation. `icon` is an SVG path in a square of 24 units.

export const PAGES = [
  { name: "now", title: "Now", icon: "M3 12h4l3-8 4 16 3-8h4", load: () => import("./pages/now.js") },
  { name: "jobs", title: "Jobs", icon: "M4 6h16M4 12h16M4 18h10", load: () => import("./pages/jobs.js") },
  { name: "stores", title: "Stores", icon: "M4 7c0-4 16-4 16 0v10c0 4-16 4-16 0zM4 7c0 4 16 4 16 0M4 12c0 4 16 4 16 0", load: () => import("./pages/stores.js") },
  { name: "agents", title: "Agents", icon: "M4 5h16v11H10l-4 4v-4H4zM8 9h8M8 12h5", load: () => import("./pages/agents.js") },
  { name: "usage", title: "Usage", icon: "M4 20V10M10 20V4M16 20v-7M21 20H3", load: () => import("./pages/usage.js") },
  { name: "schedules", title: "Schedules", icon: "M12 7v5l3 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0", load: () => import("./pages/schedules.js") },
  { name: "health", title: "Health", icon: "M20 8c0 5-8 11-8 11S4 13 4 8a4 4 0 0 1 8-1 4 4 0 0 1 8 1M8 11h2l1-2 2 4 1-2h2", load: () => import("./pages/health.js") },
];
