import { render } from "preact";
import { App } from "./app";
import { goLive } from "./live";
import { applySettings } from "./settings";
import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/components.css";
import "./styles/views.css";
import "./styles/network.css";

applySettings();
goLive();
const root = document.getElementById("app");
if (!root) throw new Error("index.html has an element #app");
render(<App />, root);
