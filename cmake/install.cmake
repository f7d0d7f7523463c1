# What `cmake --install` and cpack put where: programs with their manual pages and completions, the
# C library, and what is needed to build on the loader. docs/install.md says how to use it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Headers are written from the root of the source tree, and stay so below this folder.
set(NWC_HEADER_FOLDER ${CMAKE_INSTALL_INCLUDEDIR}/nwc)
set(NWC_CONFIG_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/nwc)
set(NWC_INSTALL_OUTPUT ${CMAKE_BINARY_DIR}/install)

# The public headers of the loader, and below everything these include.
set(waiting
  loader/nwc.h loader/loader.h loader/byte_source.h loader/layer_order.h loader/model_loader.h
  loader/shard_set.h loader/tensor_parallel.h)
set(headers "")
while(waiting)
  list(POP_FRONT waiting header)
  if(NOT header IN_LIST headers)
    list(APPEND headers ${header})
    file(STRINGS ${PROJECT_SOURCE_DIR}/${header} includes REGEX "^#include \"")
    list(TRANSFORM includes REPLACE "^#include \"([^\"]+)\".*" "\\1")
    list(APPEND waiting ${includes})
  endif()
endwhile()
foreach(header ${headers})
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${header} DESTINATION ${NWC_HEADER_FOLDER}/${folder} COMPONENT development)
endforeach()

# Who links the archives needs no package of which the loader uses headers alone.
foreach(library nwc_format nwc_loader)
  get_target_property(links ${library} INTERFACE_LINK_LIBRARIES)
  list(REMOVE_ITEM links
    $<LINK_ONLY:flatbuffers::flatbuffers> $<LINK_ONLY:nlohmann_json::nlohmann_json>)
  set_target_properties(${library} PROPERTIES INTERFACE_LINK_LIBRARIES "${links}")
  target_compile_features(${library} INTERFACE cxx_std_20)
endforeach()
set_target_properties(nwc_format PROPERTIES EXPORT_NAME format)
set_target_properties(nwc_loader PROPERTIES EXPORT_NAME loader)
set_target_properties(nwc_shared PROPERTIES EXPORT_NAME c)
install(TARGETS nwc_shared EXPORT nwcC
  LIBRARY COMPONENT runtime NAMELINK_COMPONENT development INCLUDES DESTINATION ${NWC_HEADER_FOLDER})
install(TARGETS nwc_format nwc_loader EXPORT nwcLoader
  ARCHIVE COMPONENT development INCLUDES DESTINATION ${NWC_HEADER_FOLDER})
foreach(export nwcC nwcLoader)
  install(EXPORT ${export} NAMESPACE nwc:: DESTINATION ${NWC_CONFIG_FOLDER} COMPONENT development)
endforeach()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/nwcConfig.cmake.in ${NWC_INSTALL_OUTPUT}/nwcConfig.cmake
  INSTALL_DESTINATION ${NWC_CONFIG_FOLDER})
write_basic_package_version_file(
  ${NWC_INSTALL_OUTPUT}/nwcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${NWC_INSTALL_OUTPUT}/nwcConfig.cmake ${NWC_INSTALL_OUTPUT}/nwcConfigVersion.cmake
  DESTINATION ${NWC_CONFIG_FOLDER} COMPONENT development)

# The prefix is found from the file, so that an installed tree may be moved.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
  BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig
  OUTPUT_VARIABLE NWC_PREFIX_FROM_PKGCONFIG)
foreach(name nwc nwc-loader)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in ${NWC_INSTALL_OUTPUT}/${name}.pc @ONLY)
  install(FILES ${NWC_INSTALL_OUTPUT}/${name}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
endforeach()

set(programs "")
foreach(program nwc nwc-pack nwc-train nwc-eval)
  if(TARGET ${program})
    list(APPEND programs ${program})
  endif()
endforeach()
install(TARGETS ${programs} RUNTIME COMPONENT runtime)
if(TARGET nwc-eval)  # it and nwc-pack look for it here
  install(FILES tools/tokenize_text.py DESTINATION ${CMAKE_INSTALL_DATADIR}/nwc COMPONENT runtime)
endif()
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)

# Manual pages and completions come from what the programs print, so they have to run here.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_Interpreter_FOUND AND NOT CMAKE_CROSSCOMPILING AND NOT NWC_SANITIZE)
  set(pages ${NWC_INSTALL_OUTPUT}/share)
  add_custom_command(
    OUTPUT ${pages}/stamp
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${pages}
    COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/help_pages.py
            ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} ${pages} ${programs}
    COMMAND ${CMAKE_COMMAND} -E touch ${pages}/stamp
    DEPENDS tools/help_pages.py ${programs})
  add_custom_target(help_pages ALL DEPENDS ${pages}/stamp)
  install(DIRECTORY ${pages}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT runtime)
  install(DIRECTORY ${pages}/completions
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion COMPONENT runtime)
else()
  message(STATUS "no manual pages and no completions: they need Python and programs that run here")
endif()

include(${CMAKE_CURRENT_LIST_DIR}/packages.cmake)
