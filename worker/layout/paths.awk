# Of each symbol, the last word of a line (nm's), its path, which knows of no compiler and no version, and the symbol: `_RNvCs_4main3run<TAB>_RNvCs8YcR4kOkP0y_4main3run.llvm.42`.
# - A crate's disambiguator (`s8YcR4kOkP0y_`) is another with each compiler and each version of what it depends on; how long it is moves what refers back (`B1_`).
# - Of a generic function the crate that it was made in stands last, and features decide which one that is.
# - ThinLTO appends to what several objects share.
NF {
  path = $NF
  sub(/\.llvm\.[0-9]+$/, "", path)
  if (path ~ /^_R/) {
    gsub(/Cs[0-9A-Za-z]*_/, "Cs_", path)
    gsub(/B[0-9A-Za-z]?[0-9A-Za-z]?[0-9A-Za-z]?_/, "B_", path)
    if (match(path, /Cs_[0-9]+[a-z_][a-z_0-9]*$/)) {
      crate = substr(path, RSTART + 3)
      if (length(crate) == length(crate + 0) + (crate + 0)) path = substr(path, 1, RSTART - 1)
    }
  }
  print path "\t" $NF
}
