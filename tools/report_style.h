// The style sheets of a report page.
#pragma once

namespace nwc {

extern const char* const kChartStyle;  // drawings, also on their own; colours of both schemes
extern const char* const kPageStyle;   // everything else

}  // namespace nwc
