"""The endings of the names of files, by the kind of modality that they are."""

SUFFIXES = {
    "image": {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".dcm", ".dicom"}
    | {".jfif", ".jpe", ".jp2", ".avif", ".ppm", ".pgm", ".pbm", ".tga"},
    "audio": {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".au", ".caf", ".w64"},
    "video": {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ogv", ".wmv", ".flv", ".3gp"},
    "points": {".bin", ".ply", ".pcd"},
    "series": {".npy", ".csv", ".tsv", ".edf", ".bdf", ".hea"},
}
