# A test that every -inl.h compiles by itself, so that an editor can parse it.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS cc/*-inl.h)
set(wrappers)
foreach(header IN LISTS headers)
  file(RELATIVE_PATH header ${CMAKE_SOURCE_DIR} ${header})
  set(wrapper ${CMAKE_BINARY_DIR}/headers_compile_alone/${header}.cc)
  file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"${header}\"\n")
  list(APPEND wrappers ${wrapper})
endforeach()
add_library(headers_compile_alone OBJECT EXCLUDE_FROM_ALL ${wrappers})
# Much of a header serves others alone, and none of its code runs.
target_compile_options(headers_compile_alone PRIVATE -Wno-unused-function -O0
                                                     -fno-sanitize=all)
add_test(NAME headers_compile_alone
         COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR}
                 --target headers_compile_alone)
