"""Method 1, the hybrid of Buscombe and Ritchie (2018): tiles, a classifier, a dense CRF."""
