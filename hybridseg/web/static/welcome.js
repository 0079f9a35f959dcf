// Behind the address that the program printed: keeps the key that came with it, and goes on to the page.

import { keepKey } from "./api.js";

keepKey(document.querySelector("meta[name=key]").content);
location.replace("/");
