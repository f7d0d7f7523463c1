# Writes INPUT as a C++ string constant to OUTPUT.
file(READ ${INPUT} TEXT)
file(WRITE ${OUTPUT} "namespace nwc {\nextern const char kDefaultCodecText[];\nconst char kDefaultCodecText[] = R\"codec(${TEXT})codec\";\n}  // namespace nwc\n")
